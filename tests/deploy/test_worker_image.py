"""A worker and its tools run without the packages that the images of workers leave out."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from faultline.demo.processes import child_environment, with_parent
from stream.kafka.embedded import EmbeddedBroker
from stream.settings import Settings
from tests.deploy.platforms import PROJECT, REPOSITORY
from tests.deploy.stack import free_ports, wait_until
from tests.deploy.test_dependencies import DEPENDENCIES

HEALTH = REPOSITORY / "deploy" / "health.py"
DEADLINE_S = 240.0


def packages_of(image: str) -> set[str]:
    """Return the names of all distributions in an image, by the requirements of those that are installed here."""
    seen: set[str] = set()
    todo = [Requirement(line) for line in DEPENDENCIES.requirements(PROJECT, image)]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if name in seen or not (one.marker is None or one.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        todo += [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    return seen


def left_out() -> list[str]:
    """Return the top-level modules that the image ``cpu`` contains and the image ``worker`` does not."""
    there = packages_of("worker") - {"grpcio"}
    gone = packages_of("cpu") - there
    found = importlib.metadata.packages_distributions().items()
    return sorted(module for module, owners in found if set(map(canonicalize_name, owners)) <= gone)


LEFT_OUT = left_out()


def command(modules: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.deploy.without", ",".join(LEFT_OUT), str(modules), *arguments]


def run(tmp_path: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a Faultline command to its end in a process without these packages."""
    return subprocess.run(
        command(tmp_path / "modules", *arguments),
        cwd=tmp_path,
        env=child_environment(**settings) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def test_what_is_left_out_is_what_the_images_leave_out_with_their_own_requirements() -> None:
    assert {"jinja2", "matplotlib", "pyarrow", "river", "scipy", "sklearn", "PIL", "grpc"} <= set(LEFT_OUT)
    assert not {"faust", "keras", "numpy", "tensorflow", "cryptography", "opentelemetry", "rich"} & set(LEFT_OUT)


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    """Simulate four seconds of two lines with a fault, with every package."""
    path = tmp_path / "windows.parquet"
    arguments = ["simulate", "--lines", "2", "--seconds", "4", "--seed", "11", "--out", str(path)]
    subprocess.run([*FAULTLINE, *arguments], cwd=tmp_path, env=child_environment(), check=True, timeout=DEADLINE_S)
    return path


FAULTLINE = [sys.executable, "-c", "from faultline.cli import main; main()"]


@pytest.fixture
def web_port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def worker(tmp_path: Path, embedded_broker: EmbeddedBroker, web_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker without these packages, with tracing, on the embedded broker."""
    settings = {"broker": embedded_broker.bootstrap, "web_port": str(web_port), "tracing": "otlp"}
    # Nothing listens there: an exporter that cannot export must not disturb.
    environment = child_environment(**settings) | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command(tmp_path / "modules", "worker"),
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=with_parent(),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def healthy(web_port: int) -> bool:
    """Return True if the health check of the images succeeds."""
    environment = os.environ | {"FAULTLINE_WEB_PORT": str(web_port)}
    command = [sys.executable, str(HEALTH)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)  # three starts of Python with TensorFlow, on a machine that may be busy
def test_a_worker_classifies_and_publishes_without_them(
    tmp_path: Path, embedded_broker: EmbeddedBroker, windows: Path, worker: subprocess.Popen[bytes], web_port: int
) -> None:
    log = tmp_path / "worker.log"
    wait_until(lambda: worker.poll() is not None or healthy(web_port), DEADLINE_S, "the worker to be ready")
    assert worker.poll() is None, log.read_text()
    environment = child_environment(broker=embedded_broker.bootstrap)
    replay = [*FAULTLINE, "replay", str(windows), "--restamp", "--pace", "max"]
    subprocess.run(replay, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=DEADLINE_S)
    found = run(
        *(tmp_path, "subscribe", "--from", "earliest", "--json", "--limit", "2", "--timeout", "120"),
        broker=embedded_broker.bootstrap,
    )
    assert [re.findall(r'"state":"(\w+)"', line) for line in found.stdout.splitlines()] == [["onset"], ["clear"]]
    assert healthy(web_port)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, log.read_text()
    imported = set((tmp_path / "modules").read_text().split())
    assert {"faust", "tensorflow", "keras", "opentelemetry"} <= imported
    assert not set(LEFT_OUT) & imported


def test_topics_are_created_and_the_doctor_is_content_without_them(
    tmp_path: Path, embedded_broker: EmbeddedBroker
) -> None:
    broker = {"broker": embedded_broker.bootstrap}
    created = run(tmp_path, "topics", "create", **broker)
    assert created.returncode == 0, created.stderr
    assert Settings(_env_file=None).topic_windows in created.stdout + created.stderr
    found = run(tmp_path, "doctor", "--quick", **broker)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "fail" not in found.stdout


# TLS, OAuth and signatures need a broker that asks for them; what they import does not.
IMPORTS = """
import sys
from tests.deploy.without import Refusing
sys.meta_path.insert(0, Refusing(sys.argv[1].split(",")))
import importlib, pkgutil, stream
for package in ("kafka", "registry", "telemetry", "worker", "dead_letters", "settings", "detection"):
    folder = importlib.import_module(f"stream.{package}")
    for module in pkgutil.walk_packages(folder.__path__, f"stream.{package}."):
        importlib.import_module(module.name)
import model.artefact.signing, faultline.cli.commands
print(len(sys.modules))
"""


def test_every_module_of_the_worker_imports_without_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, ",".join(LEFT_OUT)],
        cwd=REPOSITORY,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 500


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (("simulate", "--out", "windows.parquet"), "pyarrow|scipy"),
        (("trainer",), "pyarrow|river|scipy|sklearn"),
        (("record", "--out", "recording.parquet"), "pyarrow"),
    ],
)
def test_a_command_whose_packages_are_missing_says_which_image_has_it(
    tmp_path: Path, embedded_broker: EmbeddedBroker, arguments: tuple[str, ...], package: str
) -> None:
    done = run(tmp_path, *arguments, broker=embedded_broker.bootstrap, trainer_folder=str(tmp_path))
    assert done.returncode == 1
    assert re.search(
        rf"^faultline: this command needs ({package}), which is not installed here: "
        r"the images whose tags end in -cpu and -trainer-gpu have every command",
        done.stderr,
        re.MULTILINE,
    ), done.stderr
    assert "Traceback" not in done.stderr
