"""Every overlay builds, keeps the published schemas, and runs nothing that it should not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stream.settings import Settings
from tests.deploy.stack import VERSION

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "secure")
KUBERNETES_VERSION = "1.33"
CPU_IMAGES = {"topics": "worker", "worker": "worker", "trainer": "cpu"}
IMAGES = {"cpu": CPU_IMAGES, "gpu": CPU_IMAGES | {"worker": "gpu", "trainer": "trainer-gpu"}, "secure": CPU_IMAGES}
OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
Manifest = dict[str, Any]


def builder() -> list[str] | None:
    """Return the command that builds an overlay, if one is installed."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


pytestmark = pytest.mark.skipif(builder() is None, reason="neither kustomize nor kubectl is installed")


@cache
def manifests(overlay: str) -> tuple[Manifest, ...]:
    run = subprocess.run(
        [*(builder() or ()), str(FOLDER / "overlays" / overlay)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return tuple(yaml.safe_load_all(run.stdout))


def of_kind(overlay: str, *kinds: str) -> list[Manifest]:
    return [one for one in manifests(overlay) if one["kind"] in kinds]


def workloads(overlay: str) -> Iterator[tuple[str, Manifest]]:
    """Return name and pod of everything that runs."""
    for one in of_kind(overlay, "Deployment", "StatefulSet", "Job"):
        yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def settings_of(overlay: str) -> dict[str, str]:
    (found,) = of_kind(overlay, "ConfigMap")
    data: dict[str, str] = found["data"]
    return data


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_keeps_its_published_schema(overlay: str) -> None:
    kinds = set()
    for one in manifests(overlay):
        kinds.add(one["kind"])
        if one["kind"] not in OF_KEDA:
            kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)
    assert {"Deployment", "StatefulSet", "Job", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject"} <= kinds


def test_a_misspelt_field_would_be_found() -> None:
    (worker,) = of_kind("cpu", "Deployment")
    wrong = {**worker, "spec": {**worker["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_keeps_the_restricted_standard_on_a_read_only_root(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in workloads(overlay):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert {"mountPath": "/tmp", "name": "tmp"} in container["volumeMounts"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_retraining_takes_its_memory_from_the_limit_and_less_of_the_cpu_than_a_worker(overlay: str) -> None:
    containers = {name: pod["containers"][0] for name, pod in workloads(overlay)}
    requests = {name: one["resources"]["requests"]["cpu"] for name, one in containers.items()}
    assert (requests["worker"], requests["trainer"]) == ("1", "250m")
    assert containers["trainer"]["resources"]["limits"]["memory"] == "14Gi"
    assert "FAULTLINE_RETRAIN_MEMORY_MB" not in {one["name"] for one in containers["trainer"]["env"]}
    assert settings_of(overlay)["FAULTLINE_WINDOWS_RETENTION_MB"] == "0", "production's choice is made in the open"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_worker_and_trainer_are_asked_where_they_answer(overlay: str) -> None:
    for name, pod in workloads(overlay):
        if name == "topics":
            continue
        (container,) = pod["containers"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "web"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "web"}
        field = "web_port" if name == "worker" else "trainer_web_port"
        assert container["ports"] == [{"containerPort": Settings.model_fields[field].default, "name": "web"}]
        # The process itself ends a stop that hangs before Kubernetes would kill it.
        assert pod["terminationGracePeriodSeconds"] > Settings.model_fields["shutdown_timeout_s"].default


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting_and_no_secret_stands_in_the_open(overlay: str) -> None:
    names = set(settings_of(overlay))
    for _, pod in workloads(overlay):
        for variable in pod["containers"][0].get("env", ()):
            names.add(variable["name"])
            if "PASSWORD" in variable["name"] or "USERNAME" in variable["name"]:
                assert "secretKeyRef" in variable["valueFrom"]
    assert {name.removeprefix("FAULTLINE_").lower() for name in names} <= set(Settings.model_fields)
    assert of_kind(overlay, "Secret") == []
    Settings(_env_file=None, **_plain(settings_of(overlay)))  # type: ignore[call-arg]


def _plain(data: dict[str, str]) -> dict[str, str]:
    """Return settings by field, except those that name files of the pod."""
    fields = {name.removeprefix("FAULTLINE_").lower(): value for name, value in data.items()}
    return {name: value for name, value in fields.items() if not value.startswith("/run/")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_a_fixed_tag_and_every_name_that_is_referred_to_exists(overlay: str) -> None:
    (config,) = of_kind(overlay, "ConfigMap")
    accounts = {one["metadata"]["name"] for one in of_kind(overlay, "ServiceAccount")}
    for name, pod in workloads(overlay):
        (container,) = pod["containers"]
        _, colon, tag = container["image"].rpartition(":")
        assert colon
        assert tag == f"{VERSION}-{IMAGES[overlay][name]}"
        assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
        assert pod["serviceAccountName"] in accounts
        volumes = {volume["name"] for volume in pod["volumes"]} | ({"folder"} if name == "trainer" else set())
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in manifests(overlay)} == {"faultline"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_their_pods_and_only_theirs(overlay: str) -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of_kind(overlay, "Deployment", "StatefulSet")
    }
    for one in of_kind(overlay, "Deployment", "StatefulSet", "PodDisruptionBudget", "Service"):
        selector = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        found = [name for name, has in labels.items() if selector.items() <= has.items()]
        assert found == [one["metadata"]["name"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_workers_are_scaled_by_the_lag_of_their_group_and_never_beyond_the_partitions(overlay: str) -> None:
    (scaled,) = of_kind(overlay, "ScaledObject")
    settings, spec = settings_of(overlay), scaled["spec"]
    (trigger,) = spec["triggers"]
    (worker,) = of_kind(overlay, "Deployment")
    assert spec["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"]
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"] <= int(settings["FAULTLINE_PARTITIONS"])
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["bootstrapServers"] == settings["FAULTLINE_BROKER"]
    assert trigger["metadata"]["consumerGroup"] == settings["FAULTLINE_GROUP"]
    assert trigger["metadata"]["topic"] == Settings.model_fields["topic_windows"].default
    assert int(trigger["metadata"]["lagThreshold"]) > 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_one_trainer_with_a_volume_of_its_own(overlay: str) -> None:
    (trainer,) = of_kind(overlay, "StatefulSet")
    assert trainer["spec"]["replicas"] == 1
    (claim,) = trainer["spec"]["volumeClaimTemplates"]
    (container,) = trainer["spec"]["template"]["spec"]["containers"]
    folder = next(one["value"] for one in container["env"] if one["name"] == "FAULTLINE_TRAINER_FOLDER")
    assert {"mountPath": folder, "name": claim["metadata"]["name"]} in container["volumeMounts"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_that_makes_the_topics_goes_by_itself_so_that_the_next_image_can_be_applied(overlay: str) -> None:
    (job,) = of_kind(overlay, "Job")
    assert job["spec"]["ttlSecondsAfterFinished"] <= 24 * 3600


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_comes_in_but_prometheus_and_nothing_goes_out_but_to_names_and_broker(overlay: str) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "NetworkPolicy")}
    assert policies["nothing-unless-allowed"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    broker = policies["broker"]["egress"][0]["ports"]
    assert {"port": 9093, "protocol": "TCP"} in broker
    # Without TLS there is no access to the broker where TLS is required.
    assert ({"port": 9092, "protocol": "TCP"} in broker) == (overlay != "secure")


def test_the_secure_overlay_gives_each_its_own_login_and_the_private_key_to_the_trainer_alone() -> None:
    settings = settings_of("secure")
    assert settings["FAULTLINE_SECURITY_PROTOCOL"] == "SASL_SSL"
    logins, holders = {}, set()
    for name, pod in workloads("secure"):
        env = {one["name"]: one for one in pod["containers"][0]["env"]}
        logins[name] = env["FAULTLINE_SASL_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"]
        if any(volume.get("secret", {}).get("secretName") == "model-private-key" for volume in pod["volumes"]):
            holders.add(name)
    assert logins == {"worker": "worker-login", "trainer": "trainer-login", "topics": "admin-login"}
    assert holders == {"trainer"}


def test_the_gpu_overlay_asks_for_a_gpu_each() -> None:
    asked = {name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for name, pod in workloads("gpu")}
    assert asked == {"worker": "1", "trainer": "1", "topics": None}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traces_go_to_the_collector_where_the_component_is_added_and_nowhere_without(
    overlay: str, tmp_path: Path
) -> None:
    # Resources of a kustomization are named relative to it.
    base = Path(os.path.relpath(FOLDER, tmp_path))
    chosen = {"resources": [str(base / "overlays" / overlay)], "components": [str(base / "components" / "tracing")]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(chosen))
    run = subprocess.run([*(builder() or ()), str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    built = list(yaml.safe_load_all(run.stdout))
    for one in built:
        if one["kind"] not in OF_KEDA:
            kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)
    (config,) = [one["data"] for one in built if one["kind"] == "ConfigMap"]
    more = {name: value for name, value in config.items() if settings_of(overlay).get(name) != value}
    assert more["FAULTLINE_TRACING"] == "otlp"
    (policy,) = [one for one in built if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "traces"]
    (out,) = policy["spec"]["egress"]
    host, port = more["OTEL_EXPORTER_OTLP_ENDPOINT"].split("/")[2].split(":")
    assert out["ports"] == [{"protocol": "TCP", "port": int(port)}]
    labels = {"kubernetes.io/metadata.name": host.rpartition(".")[2]}
    assert out["to"] == [{"namespaceSelector": {"matchLabels": labels}}]
    assert "FAULTLINE_TRACING" not in settings_of(overlay)
