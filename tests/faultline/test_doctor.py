"""The doctor reports each problem with its remedy, and its exit status suits a script."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka.admin import AclOperation, ResourceType
from packaging.requirements import Requirement
from typer.testing import CliRunner

from benchmarks.kafka.properties import Security
from faultline import doctor
from faultline.cli.doctor import doctor as doctor_command
from faultline.doctor import Check
from model.artefact import shipped
from model.artefact.signing import new_keys
from model.spec import load_spec
from stream.kafka.acls import needed_rights
from stream.kafka.clients import BrokerInfo, unspoken_requests
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.topics import topic_specs
from stream.registry.topic import publish_model
from stream.settings import Settings
from tests.kafka_acls import grant
from tests.stream.model_samples import small_artefact

PASSWORD = "correct-horse"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run ``doctor --json --quick`` with exactly these variables, away from any .env file."""
    for name in list(os.environ):
        if name.startswith("FAULTLINE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(doctor_command)

    def invoke(**environment: str) -> dict[str, Any]:
        done = CliRunner(env=environment).invoke(app, ["--json", "--quick"])
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.exit_code == (0 if answer["ok"] else 1)
        assert answer["ok"] == all(line["level"] != "fail" for line in answer["lines"])
        return answer

    return invoke


def lines(answer: dict[str, Any], area: str) -> list[tuple[str, str]]:
    return [(line["level"], line["message"]) for line in answer["lines"] if line["area"] == area]


def test_an_unreachable_broker_fails_with_the_way_to_one(run: Callable[..., dict[str, Any]]) -> None:
    answer = run(FAULTLINE_BROKER="127.0.0.1:1")
    ((level, message),) = lines(answer, "broker")
    assert level == "fail"
    assert "faultline broker" in message
    assert lines(answer, "topics") == []


def test_a_wrong_setting_is_named_and_the_rest_is_still_checked(run: Callable[..., dict[str, Any]]) -> None:
    answer = run(FAULTLINE_BATCH_WINDOWS="0")
    ((level, message),) = lines(answer, "settings")
    assert level == "fail"
    assert "FAULTLINE_BATCH_WINDOWS" in message
    assert lines(answer, "disk")


def test_secrets_are_masked(run: Callable[..., dict[str, Any]]) -> None:
    answer = run(FAULTLINE_SASL_PASSWORD="hunter2", FAULTLINE_BROKER="127.0.0.1:1")
    ((level, message),) = lines(answer, "settings")
    assert level == "ok"
    assert "FAULTLINE_BROKER=127.0.0.1:1" in message
    assert "hunter2" not in json.dumps(answer)


def test_a_misspelt_variable_is_found(run: Callable[..., dict[str, Any]]) -> None:
    ((level, message),) = lines(run(FAULTLINE_BROCKER="b"), "settings")
    assert level == "fail"
    assert "FAULTLINE_BROCKER: no such setting; did you mean FAULTLINE_BROKER" in message


def test_the_embedded_broker_is_a_warning(run: Callable[..., dict[str, Any]], embedded_broker: EmbeddedBroker) -> None:
    answer = run(FAULTLINE_BROKER=embedded_broker.bootstrap)
    ((level, message),) = lines(answer, "broker")
    assert level == "warn"
    assert "embedded" in message
    assert lines(answer, "topics") == [("ok", f"{len(topic_specs(Settings(_env_file=None)))} topics are correct")]


def test_the_champion_and_its_requirements_are_reported(
    run: Callable[..., dict[str, Any]], embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    environment = {"FAULTLINE_BROKER": embedded_broker.bootstrap}
    settings = Settings(_env_file=None, broker=embedded_broker.bootstrap)
    ((level, message),) = lines(run(**environment), "models")
    assert (level, message.partition(":")[0]) == ("ok", "no champion on the topic")
    asyncio.run(publish_model(settings, shipped("line"), spec="line", at=datetime.now(UTC), by="ana"))
    ((level, message),) = lines(run(**environment), "models")
    assert level == "ok"
    assert message.startswith(f"champion {shipped('line').model_id}, promoted by ana")
    _, public = new_keys(tmp_path)
    ((level, message),) = lines(run(**environment, FAULTLINE_MODEL_PUBLIC_KEYS=str(public)), "models")
    assert level == "fail"
    assert "unsigned" in message
    public.write_text("no key")
    ((level, message),) = lines(run(**environment, FAULTLINE_MODEL_PUBLIC_KEYS=str(public)), "models")
    assert level == "fail"
    assert "faultline keys new" in message


def test_a_spec_that_no_model_ships_for_needs_a_champion(
    run: Callable[..., dict[str, Any]], embedded_broker: EmbeddedBroker
) -> None:
    environment = {"FAULTLINE_BROKER": embedded_broker.bootstrap, "FAULTLINE_SPEC": "instant"}
    answer = run(**environment)
    ((level, message),) = lines(answer, "artefact")
    assert level == "warn"
    assert "faultline train --spec instant" in message
    ((level, message),) = lines(answer, "models")
    assert level == "fail"
    assert "faultline models promote" in message
    settings = Settings(_env_file=None, broker=embedded_broker.bootstrap)
    champion = small_artefact(spec=load_spec("instant"))
    asyncio.run(publish_model(settings, champion, spec="instant", at=datetime.now(UTC), by="ana"))
    answer = run(**environment)
    assert lines(answer, "models")[0][0] == "ok"
    assert answer["ok"]


def test_an_artefact_that_is_none_fails(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    wrong = tmp_path / "model.safetensors"
    wrong.write_bytes(b"no artefact")
    answer = run(FAULTLINE_MODEL=str(wrong), FAULTLINE_BROKER="127.0.0.1:1")
    ((level, _),) = lines(answer, "artefact")
    assert level == "fail"


@pytest.fixture
def locked(kafka_server: Callable[..., Any]) -> tuple[Any, dict[str, str]]:
    """Start a broker with ACLs and all topics, and return the environment of its user alice."""
    kafka = kafka_server(security=Security(users={"alice": PASSWORD}, authorizer=True))
    for plan in topic_specs(Settings(_env_file=None)):
        kafka.create_topic(plan.name, 2, {"cleanup.policy": "compact" if plan.compacted else "delete"})
    environment = {
        "FAULTLINE_BROKER": kafka.server.sasl_bootstrap,
        "FAULTLINE_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "FAULTLINE_SASL_USERNAME": "alice",
        "FAULTLINE_SASL_PASSWORD": PASSWORD,
    }
    return kafka, environment


def test_rights_are_reported_one_by_one_and_all_granted_is_ok(
    run: Callable[..., dict[str, Any]], locked: tuple[Any, dict[str, str]]
) -> None:
    kafka, environment = locked
    settings = Settings(_env_file=None)
    everywhere = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    for plan in topic_specs(settings):
        grant(kafka.bootstrap, "alice", plan.name, everywhere)
    answer = run(**environment)
    assert [level for level, _ in lines(answer, "topics")] == ["ok"]
    denied = dict(message.split(": ", 1) for _, message in lines(answer, "rights"))
    assert set(denied) == {*needed_rights(settings), settings.group}
    assert denied["line-states"].startswith("Read and Write denied; grant User:alice Read, Write: kafka-acls")
    assert denied["faults.lg"].startswith("Write denied")
    assert not answer["ok"]
    assert PASSWORD not in json.dumps(answer)

    for topic, operations in needed_rights(settings).items():
        grant(kafka.bootstrap, "alice", topic, operations)
    grant(kafka.bootstrap, "alice", settings.group, (AclOperation.READ,), ResourceType.GROUP)
    assert [level for level, _ in lines(run(**environment), "rights")] == ["ok"]


@pytest.mark.slow
def test_tensorflow_and_its_devices_are_named() -> None:
    line = doctor.check_backend(quick=False)
    assert line.level in {"ok", "warn"}
    assert "CPU:0" in line.message


def test_a_tensorflow_that_cannot_be_imported_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE", "import a_package_that_is_not_there")
    line = doctor.check_backend(quick=False)
    assert line.level == "fail"
    assert "a_package_that_is_not_there" in line.message


def test_another_keras_backend_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert doctor.check_backend(quick=True).level == "fail"


def test_packages_of_other_versions_and_missing_ones_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["aiokafka==0.0.1", "numpy>=99.0", "no-such-package>=1", "msgspec>=0.1"]
    monkeypatch.setattr(doctor, "_requirements", lambda: [Requirement(line) for line in wanted])
    found = list(doctor.check_packages())
    assert [line.level for line in found] == ["fail"] * 3
    for line, advice in zip(found, ("aiokafka==0.0.1", "numpy>=99.0", "no-such-package>=1"), strict=True):
        assert f"pip install '{advice}'" in line.message


def test_the_installed_packages_are_those_that_are_asked_for() -> None:
    assert [line.level for line in doctor.check_packages()] == ["ok"]


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the doctor see an environment in which some distributions are not installed."""
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in names else known(name))


def test_an_image_of_workers_is_complete_without_what_no_worker_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *doctor.NOT_IN_WORKERS)
    (line,) = doctor.check_packages()
    assert line.level == "ok"
    assert "without jinja2, matplotlib, pyarrow, river, scikit-learn, scipy" in line.message
    assert "the images whose tags end in -cpu and -trainer-gpu have all of them" in line.message


def test_one_of_them_missing_alone_is_no_image_but_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "scipy")
    (line,) = doctor.check_packages()
    assert (line.level, line.message) == ("fail", "scipy is missing: pip install 'scipy>=1.14'")


def test_this_machine_needs_one_tensorflow_and_the_doctor_names_it_when_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (wanted,) = (one for one in doctor._requirements() if one.name in doctor.TENSORFLOWS)
    without(monkeypatch, *doctor.TENSORFLOWS)
    (line,) = doctor.check_packages()
    assert (line.level, line.message) == ("fail", f"{wanted.name} is missing: pip install '{wanted.name}>=2.20'")
    monkeypatch.setattr(doctor, "PROBE", "import a_package_that_is_not_there")
    assert doctor.check_backend(quick=False).message.endswith(f"pip install {wanted.name} keras")


def test_the_distribution_of_tensorflow_is_named_without_importing_it() -> None:
    (name,) = (name for name in doctor.TENSORFLOWS if doctor._version(name))
    line = doctor.check_backend(quick=True)
    assert line.message == f"{name} {doctor._version(name)}, not imported (--quick)"


def test_two_distributions_of_tensorflow_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: known(name) or "2.21.0")
    (line,) = doctor.check_packages()
    assert line.level == "fail"
    assert "overwrite each other's files" in line.message


@pytest.mark.parametrize(
    ("system", "machine", "level", "advice"),
    [
        ("Linux", "x86_64", "ok", ""),
        ("Linux", "aarch64", "ok", ""),
        ("Darwin", "arm64", "ok", ""),
        ("Darwin", "x86_64", "warn", "use docker compose"),
        ("Windows", "AMD64", "warn", "use WSL2 or docker compose"),
    ],
)
def test_the_platform_is_named_and_one_that_is_not_tested_gets_advice(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, level: str, advice: str
) -> None:
    monkeypatch.setattr(doctor.platform, "system", lambda: system)
    monkeypatch.setattr(doctor.platform, "machine", lambda: machine)
    line = doctor.check_platform()
    assert line.level == level
    assert line.message.startswith(f"{system} {machine}")
    assert line.message.endswith(advice)


@pytest.mark.parametrize(("version", "level"), [("3.10.14", "fail"), ("3.11.0", "ok"), ("3.13.9", "ok")])
def test_python_is_compared_with_the_range_of_the_project(
    monkeypatch: pytest.MonkeyPatch, version: str, level: str
) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    line = doctor.check_python()
    assert line.level == level
    assert (doctor._requires_python() in line.message) == (level == "fail")


def test_faust_runs_with_its_c_extensions_or_the_doctor_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_CYTHON", raising=False)
    files = importlib.metadata.files("faust-streaming") or []
    compiled = [file for file in files if file.suffix in (".so", ".pyd")]
    assert doctor.check_faust().level == ("ok" if compiled else "warn")
    # This is the state that pip leaves if there is neither a wheel nor a compiler.
    pure = [file for file in files if file not in compiled]
    monkeypatch.setattr(doctor.importlib.metadata, "files", lambda name: pure)
    line = doctor.check_faust()
    assert line.level == "warn"
    assert "install a C compiler" in line.message
    assert "--no-binary faust-streaming faust-streaming==" in line.message
    monkeypatch.setenv("NO_CYTHON", "1")
    assert doctor.check_faust().message.endswith("NO_CYTHON is set: unset it")


@pytest.mark.parametrize(("free", "level"), [(100 << 20, "fail"), (1 << 30, "warn"), (9 << 30, "ok")])
def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor.check_disk().level == level


def test_a_broker_that_lacks_a_request_or_its_versions_is_found() -> None:
    everything = dict.fromkeys(range(40), (0, 20))
    assert unspoken_requests(BrokerInfo("b:1", None, (), everything)) == []
    without = {key: versions for key, versions in everything.items() if key != 22}
    assert unspoken_requests(BrokerInfo("b:1", None, (), without)) == ["InitProducerId"]
    too_new = everything | {0: (15, 20)}
    assert unspoken_requests(BrokerInfo("b:1", None, (), too_new)) == ["Produce"]


def test_plain_lines_carry_level_area_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Check("disk", "ok", "room"), Check("broker", "fail", "no broker: start one")]
    monkeypatch.setattr(doctor, "diagnose", lambda **_: iter(given))
    app = typer.Typer()
    app.command()(doctor_command)
    done = CliRunner().invoke(app, [])
    assert done.stdout == "ok   disk: room\nfail broker: no broker: start one\n"
    assert done.exit_code == 1
