"""The compose files pin images, restrict containers, publish on loopback only, and use settings that exist."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.settings import Settings
from tests.deploy.stack import LEAST_COMPOSE, SmokeError, check_compose, compose_command

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("topics", "worker", "worker-gpu", "trainer", "cli", "demo")
Service = dict[str, Any]


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))
    return found


SERVICES: dict[str, Service] = read("docker-compose.yml")["services"]
SECURE: dict[str, Service] = read("deploy/secure/compose.yml")["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_a_read_only_root_no_capability_and_no_port_beyond_loopback(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "cap_add", "devices", "pid"} & set(service)
    # The images name a user that is not root; cli takes its user's ids, so that what it writes is theirs.
    assert service.get("user") == ("${RECORDS_USER:-10001:10001}" if name == "cli" else None)
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), port
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_version(name: str) -> None:
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[name]["image"])
    assert re.search(r":v?\d+\.\d+\.\d+(-worker|-cpu|-gpu)?$", image), image


def test_the_broker_is_the_version_that_the_tests_run_on() -> None:
    pom = (REPOSITORY / "deploy" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    (version,) = re.findall(r"<kafka.version>(.*)</kafka.version>", pom)
    assert SERVICES["broker"]["image"] == f"apache/kafka:{version}"


def default_of(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_every_bind_mount_but_the_folder_of_records_is_read_only_and_is_in_the_repository_or_of_the_user() -> None:
    written = []
    for service in [*SERVICES.values(), *SECURE.values()]:
        for volume in service.get("volumes", ()):
            if isinstance(volume, dict):
                written.append(volume)
                continue
            source = default_of(volume).split(":")[0]
            if not source.startswith("."):
                continue
            assert volume.endswith(":ro"), volume
            assert source.startswith("./secrets/") or (REPOSITORY / source).exists(), source
    (records,) = written
    assert SERVICES["cli"]["volumes"] == [records]
    assert (records["type"], records["target"], default_of(records["source"])) == ("bind", "/records", "./records")
    # Docker creates a missing folder as root, where no other user could write, so the checkout contains it.
    assert records["bind"] == {"create_host_path": False}
    assert (REPOSITORY / "records").is_dir()


def test_a_build_takes_pips_configuration_as_a_secret_and_needs_none() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in dockerfile
    for name in OURS:
        assert SERVICES[name]["build"]["secrets"] == ["pip"], name
    (secret,) = read("docker-compose.yml")["secrets"].values()
    path = REPOSITORY / default_of(secret["file"])
    assert all(line.startswith("#") for line in path.read_text(encoding="utf-8").splitlines())


def test_windows_are_bounded_in_size_where_the_topic_is_made_and_where_it_is_checked() -> None:
    for name in OURS:
        given = default_of(SERVICES[name]["environment"]["FAULTLINE_WINDOWS_RETENTION_MB"])
        assert int(given) * Settings.model_fields["partitions"].default <= 8 * 1024, "8 GiB in all"


def test_events_come_before_a_retraining_when_both_want_the_cpu() -> None:
    assert "cpu_shares" not in SERVICES["worker"]
    assert SERVICES["trainer"]["cpu_shares"] <= 1024 // 4, "1024 are Docker's default"


def test_a_retraining_takes_its_memory_from_the_trainers_limit() -> None:
    for service in [*SERVICES.values(), *SECURE.values()]:
        assert "FAULTLINE_RETRAIN_MEMORY_MB" not in service.get("environment", {})
    assert SERVICES["trainer"]["mem_limit"] == "${TRAINER_MEMORY:-14g}"


def test_the_command_line_logs_for_people_and_what_runs_on_as_json() -> None:
    formats = {name: SERVICES[name]["environment"]["FAULTLINE_LOG_FORMAT"] for name in OURS}
    assert formats == {name: "console" if name == "cli" else "json" for name in OURS}
    assert "USER" in SERVICES["cli"]["environment"], "ids that are not in the image have no name"


def test_every_variable_of_ours_is_a_setting() -> None:
    given = {name for service in [*SERVICES.values(), *SECURE.values()] for name in service.get("environment", {})}
    smoke = (REPOSITORY / "tests" / "deploy" / "smoke.env").read_text(encoding="utf-8")
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    given |= set(re.findall(r"^#? ?(FAULTLINE_\w+)=", smoke + example, re.MULTILINE))
    ours = {name for name in given if name.startswith("FAULTLINE_") and not name.startswith("FAULTLINE_GATE_")}
    assert {name.removeprefix("FAULTLINE_").lower() for name in ours} <= set(Settings.model_fields)


def test_the_example_names_every_variable_of_the_compose_file_with_its_default() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    example = dict(
        line.split("=", 1)
        for line in (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    # The image, the file of settings and the login's USER depend on who builds or tests.
    assert example == {name: default for name, default in used.items() if name not in ("IMAGE", "SETTINGS", "USER")}


def test_ours_start_by_health_and_never_by_sleep() -> None:
    for name in ("worker", "trainer", "worker-gpu", "demo"):
        assert SERVICES[name]["depends_on"]["broker"] == {"condition": "service_healthy"}
        assert SERVICES[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert "sleep" not in (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")


def test_a_stop_is_given_more_time_than_a_worker_takes_at_most() -> None:
    for name in ("worker", "trainer", "worker-gpu"):
        seconds = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert seconds > Settings.model_fields["shutdown_timeout_s"].default


def test_what_runs_at_once_asks_for_no_profile() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {
        "broker",
        "topics",
        "worker",
        "trainer",
    }


def test_with_the_secure_overlay_each_has_a_login_of_its_own_and_only_the_trainer_the_private_key() -> None:
    logins = {name: service["env_file"][-1].rpartition("/")[2] for name, service in SECURE.items() if name in OURS}
    assert logins == {
        "topics": "admin.env",
        "worker": "worker.env",
        "worker-gpu": "worker.env",
        "trainer": "trainer.env",
        "cli": "${ROLE:-subscriber}.env",
        "demo": "gateway.env",
    }
    for name in OURS:
        assert SECURE[name]["environment"]["FAULTLINE_SECURITY_PROTOCOL"] == "SASL_SSL"
        holds = any("faultline-model.key" in volume for volume in SECURE[name].get("volumes", ()))
        assert holds == (name == "trainer")


def properties(name: str) -> dict[str, str]:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_secure_broker_listens_without_tls_on_its_own_loopback_alone() -> None:
    kept = properties("deploy/secure/broker.properties")
    protocols = dict(one.split(":") for one in kept["listener.security.protocol.map"].split(","))
    for listener in kept["listeners"].split(","):
        name, _, address = listener.partition("://")
        if protocols[name] != "SASL_SSL":
            assert address.startswith("localhost:"), listener
    assert kept["authorizer.class.name"].endswith("StandardAuthorizer")
    assert "allow.everyone.if.no.acl.found" not in kept


def test_both_brokers_differ_in_their_security_alone() -> None:
    plain, secure = properties("deploy/compose/broker/broker.properties"), properties("deploy/secure/broker.properties")
    differ = {name for name in plain.keys() | secure.keys() if plain.get(name) != secure.get(name)}
    assert all(re.match(r"listener|ssl|sasl|authorizer|super|inter\.broker|inter\.broker", name) for name in differ), (
        differ
    )


def test_a_trial_folder_is_made_once_and_has_what_the_overlay_mounts(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    command = [sys.executable, "-", str(folder)]
    script = (REPOSITORY / "deploy" / "secure" / "prepare.py").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    made = subprocess.run(command, input=script, env=environment, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    names = {one.name for one in folder.iterdir()}
    mounted = set(re.findall(r"secrets\}/([\w.-]+\w)", (REPOSITORY / "deploy/secure/compose.yml").read_text("utf-8")))
    assert mounted <= names
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    logins = (folder / "worker.env").read_text(encoding="utf-8")
    assert "FAULTLINE_SASL_USERNAME=worker" in logins
    password = re.findall("PASSWORD=(.*)", logins)[0]
    assert f"worker={password}" in (folder / "users").read_text(encoding="utf-8")
    assert password not in made.stdout + made.stderr
    again = subprocess.run(command, input=script, env=environment, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "must be an empty folder" in again.stderr


def test_a_compose_that_is_too_old_is_named_and_the_file_says_which_is_needed() -> None:
    needed = ".".join(map(str, LEAST_COMPOSE))
    for version in ("2.23.3", "1.29.2", "v2.9.0", ""):
        with pytest.raises(SmokeError, match=f"must be {needed} or later"):
            check_compose(version)
    for version in (f"{needed}.0", "v2.40.3", "5.0.1", "2.24.6-desktop.1\n"):
        check_compose(version)
    assert f"Needs Docker Compose {needed} or later" in (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")


def test_compose_itself_accepts_the_files() -> None:
    try:
        command = [*compose_command(), "--project-directory", str(REPOSITORY)]
        subprocess.run([*command, "version"], capture_output=True, check=True, timeout=30)
    except Exception as error:
        pytest.skip(f"no Docker Compose: {error}")
    for files in (["docker-compose.yml"], ["docker-compose.yml", "deploy/secure/compose.yml"]):
        named = [word for file in files for word in ("-f", str(REPOSITORY / file))]
        environment = {**os.environ, "SECRETS": str(REPOSITORY / "deploy")}
        shown = subprocess.run(
            [*command, *named, "--profile", "*", "config", "--no-interpolate"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert shown.returncode == 0, shown.stderr
