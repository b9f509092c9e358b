"""Run the checks of ``faultline doctor``. A check raises no Faultline error; its result describes the problem."""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from model.domain import domain_of
from model.errors import FaultlineError
from model.spec import SignalSpec, load_spec
from stream.settings import PREFIX, Settings, load_settings, settings_in_environment

Level = Literal["ok", "warn", "fail"]

BROKER_DEADLINE_S = 5.0
LOW_DISK_BYTES = 2 << 30  # Apache Kafka preallocates its files, and the recording of a day of windows is larger
FULL_DISK_BYTES = 200 << 20
IMPORT_DEADLINE_S = 120.0  # an import takes three seconds from the page cache and far longer from a network disk
PROBE = """
import keras, tensorflow
devices = [device.name.removeprefix("/physical_device:") for device in tensorflow.config.list_physical_devices()]
print(f"TensorFlow {tensorflow.__version__}, Keras {keras.__version__} on {keras.backend.backend()}:", *devices)
"""
PLATFORMS = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
"""System and machine of each platform for which tests/deploy/test_every_platform.py resolves the dependencies."""
TENSORFLOWS = ("tensorflow-cpu", "tensorflow")
"""Distributions that contain the package ``tensorflow``; the first has wheels only for Linux on x86_64."""
NOT_IN_WORKERS = ("jinja2", "matplotlib", "pyarrow", "river", "scikit-learn", "scipy")
"""Requirements that the workers' images leave out, see deploy/dependencies.py."""


@dataclass(frozen=True)
class Check:
    """Result of one check: its area, its level, and a message that includes the remedy unless the level is ok."""

    area: str
    level: Level
    message: str


def diagnose(*, broker: str | None = None, spec: str | None = None, quick: bool = False) -> Iterator[Check]:
    """Yield the results of all checks in the order in which a new user needs them, each as soon as it is known.

    Args:
        broker: bootstrap servers, which override the settings.
        spec: signal spec, which overrides the settings.
        quick: do not import TensorFlow, which takes seconds.

    Yields:
        The result of each check.
    """
    yield check_platform()
    yield check_python()
    yield from check_packages()
    yield check_faust()
    yield check_backend(quick)
    try:
        settings = load_settings(broker=broker, spec=spec)
    except FaultlineError as error:
        yield Check("settings", "fail", str(error))
    else:
        yield check_settings(settings)
        yield check_artefact(settings)
        yield from check_broker(settings)
    yield check_disk()


def check_platform() -> Check:
    """Check that all dependencies have releases for this operating system and processor."""
    system, machine = platform.system(), platform.machine()
    libc = " ".join(platform.libc_ver()) if system == "Linux" else platform.mac_ver()[0]
    here = ", ".join(part for part in (f"{system} {machine}", libc, f"{os.cpu_count()} cores") if part)
    if (system, machine) in PLATFORMS:
        return Check("platform", "ok", here)
    advice = "use WSL2 or docker compose" if system == "Windows" else "use docker compose"
    tested = ", ".join(" ".join(one) for one in PLATFORMS)
    return Check("platform", "warn", f"{here} is not tested (only {tested}): {advice}")


def check_python() -> Check:
    """Check that TensorFlow and Faust have releases for this version of Python."""
    wanted = _requires_python()
    here = f"Python {platform.python_version()}"
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return Check("python", "ok", here)
    return Check("python", "fail", f"{here} is not supported: create the environment with Python {wanted}")


def check_packages() -> Iterator[Check]:
    """Check that every requirement is installed in an accepted version."""
    wrong: list[str] = []
    shown, missing = [], []
    for requirement in _requirements():
        name, advice = requirement.name, f"pip install '{requirement.name}{requirement.specifier}'"
        version = _version(name)
        if version is None:
            if name != "tensorflow-cpu" or _version("tensorflow") is None:
                missing.append((name, advice))
            continue
        shown.append(f"{name} {version}")
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{name} is {version}, which is not tested: {advice}")
    if {name for name, _ in missing} == set(NOT_IN_WORKERS):
        others = "the images whose tags end in -cpu and -trainer-gpu have all of them"
        shown.append(f"without {', '.join(NOT_IN_WORKERS)}, as in the workers' images; {others}")
    else:
        wrong += [f"{name} is missing: {advice}" for name, advice in missing]
    if _version("tensorflow") is not None and _version("tensorflow-cpu") is not None:
        wrong.append("tensorflow and tensorflow-cpu overwrite each other's files: pip uninstall both, then install one")
    yield from (Check("packages", "fail", message) for message in wrong)
    if not wrong:
        yield Check("packages", "ok", ", ".join(shown))


def _requirements() -> list[Requirement]:
    """Return the requirements for this machine, from the installed package or from a checkout."""
    listed = importlib.metadata.requires("faultline") if _version("faultline") else _project()["dependencies"]
    found = [Requirement(line) for line in listed or ()]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def _requires_python() -> str:
    if _version("faultline"):
        return str(importlib.metadata.metadata("faultline")["Requires-Python"])
    return str(_project()["requires-python"])


def _project() -> dict[str, Any]:
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project


def _version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_faust() -> Check:
    """Check that Faust runs with its compiled extensions; without them it runs in pure Python, which is slower."""
    version = _version("faust-streaming")
    if version is None:
        return Check("faust", "fail", "faust-streaming is missing, so no worker runs: see packages above")
    if os.environ.get("NO_CYTHON"):
        return Check("faust", "warn", f"{version} in pure Python, since NO_CYTHON is set: unset it")
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    files = importlib.metadata.files("faust-streaming") or []
    compiled = [file for file in files if file.parent.name == "_cython" and file.name.endswith(suffixes)]
    if compiled:
        return Check("faust", "ok", f"{version} with its C extensions")
    # Without a wheel, as on Linux aarch64, pip builds Faust from its source distribution: with its extensions if there
    # is a compiler, otherwise in pure Python.
    again = f"pip install --force-reinstall --no-deps --no-binary faust-streaming faust-streaming=={version}"
    return Check("faust", "warn", f"{version} in pure Python: install a C compiler (gcc or clang), then {again}")


def check_backend(quick: bool) -> Check:
    """Check that Keras runs on TensorFlow, and show TensorFlow's distribution and devices."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        return Check("tensorflow", "fail", f"KERAS_BACKEND is {backend}, but the engine needs tensorflow: unset it")
    installed = " and ".join(f"{name} {_version(name)}" for name in TENSORFLOWS if _version(name) is not None)
    if quick:
        return Check("tensorflow", "ok", f"{installed or 'no distribution of TensorFlow'}, not imported (--quick)")
    # The import runs in a child process, since an import that crashes on this CPU must not end the doctor.
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter of this process and a constant text
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=IMPORT_DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        message = f"not imported within {IMPORT_DEADLINE_S:.0f} s: install it on a faster disk, or try again"
        return Check("tensorflow", "fail", message)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
        wanted = next((one.name for one in _requirements() if one.name in TENSORFLOWS), TENSORFLOWS[0])
        return Check("tensorflow", "fail", f"cannot be imported ({reason}): pip install {wanted} keras")
    text = f"{installed}: {done.stdout.strip()}"
    if "GPU" not in text and shutil.which("nvidia-smi") is not None:
        return Check("tensorflow", "warn", f"{text}; this machine's GPU is not used: install the extra faultline[gpu]")
    return Check("tensorflow", "ok", text)


def check_settings(settings: Settings) -> Check:
    """Show the settings that are set by variables, with secrets masked."""
    shown = [f"{name}={getattr(settings, name.removeprefix(PREFIX).lower())}" for name in settings_in_environment()]
    return Check("settings", "ok", ", ".join(shown) or "no FAULTLINE_ variable is set: all defaults")


def check_artefact(settings: Settings) -> Check:
    """Check that the artefact with which a worker would start can be verified and fits the worker's spec."""
    from model.artefact import Artefact, shipped

    try:
        spec = load_spec(settings.spec)
        if not _has_artefact(settings, spec):
            return Check(
                "artefact",
                "warn",
                f"none ships for spec {spec.name}, so workers wait for a champion on {settings.topic_models}: train one"
                f" with faultline train --spec {spec.name}, then promote it or set FAULTLINE_MODEL",
            )
        artefact = Artefact.load(Path(settings.model)) if settings.model else shipped(spec.name)
    except FaultlineError as error:
        return Check("artefact", "fail", str(error))
    origin = settings.model or "shipped"
    if artefact.manifest.spec != spec:
        advice = "set FAULTLINE_SPEC or FAULTLINE_MODEL to match"
        return Check(
            "artefact", "fail", f"{origin} is for spec {artefact.manifest.spec.name}, not {spec.name}: {advice}"
        )
    return Check("artefact", "ok", f"{origin} {artefact.model_id} for spec {spec.name} is verified")


def _has_artefact(settings: Settings, spec: SignalSpec) -> bool:
    """Return True if a worker has an artefact with which it can start before there is a champion."""
    return settings.model is not None or spec.name in domain_of(spec).artefacts()


def check_broker(settings: Settings) -> Iterator[Check]:
    """Check that the broker is reachable, accepts the login and has the protocol versions; then topics and rights."""
    from stream.kafka.clients import check_reachable, unspoken_requests
    from stream.kafka.topics import check_topics

    try:
        broker = asyncio.run(check_reachable(settings, BROKER_DEADLINE_S))
        findings = asyncio.run(check_topics(settings))
    except FaultlineError as error:
        yield Check("broker", "fail", str(error))
        return
    login = f"as {settings.sasl_username or settings.sasl_oauth_client_id} by {settings.sasl_mechanism}"
    how = f"{settings.security_protocol} {login if 'SASL' in settings.security_protocol else ''}".strip()
    nodes = f"{len(broker.nodes)} node" + ("s" if len(broker.nodes) > 1 else "")
    unspoken = unspoken_requests(broker)
    if unspoken:
        advice = "use Apache Kafka 2.1 to 4.x"
        message = f"{broker.bootstrap} lacks versions that Faultline needs of {', '.join(unspoken)}: {advice}"
        yield Check("broker", "fail", message)
    elif broker.embedded:
        message = f"{broker.bootstrap} is an embedded broker, which loses its data: use it for trials only"
        yield Check("broker", "warn", message)
    else:
        yield Check("broker", "ok", f"{broker.bootstrap} answers ({how}, {nodes})")
    wrong = [finding for finding in findings if finding.level != "ok"]
    yield from (Check("topics", finding.level, f"{finding.name}: {finding.message}") for finding in wrong)
    if not wrong:
        yield Check("topics", "ok", f"{len(findings)} topics are correct")
    if not broker.embedded:
        yield from check_rights(settings)
    if all(finding.name != settings.topic_models for finding in wrong):
        yield check_models(settings)


def check_models(settings: Settings) -> Check:
    """Check which model a worker would use, given the topic of models and the trusted keys."""
    from stream.registry.promote import listed
    from stream.registry.topic import public_keys

    try:
        public_keys(settings)
        spec = load_spec(settings.spec)
        here = [row for row in asyncio.run(listed(settings)) if row.spec == spec.name]
    except FaultlineError as error:
        return Check("models", "fail", str(error))
    signed = "signed models only" if settings.model_public_keys else "signatures not required"
    champion = next((row for row in here if row.role == "champion"), None)
    if champion is None and not _has_artefact(settings, spec):
        advice = f"run faultline train --spec {spec.name}, then faultline models promote"
        return Check("models", "fail", f"no champion on the topic and no artefact, so no worker starts: {advice}")
    if champion is None:
        return Check("models", "ok", f"no champion on the topic: workers use the artefact above; {signed}")
    if champion.refused is not None:
        advice = "promote a valid one with faultline models promote, or go back with faultline models rollback"
        return Check(
            "models", "fail", f"workers refuse the champion {champion.model_id} ({champion.refused}): {advice}"
        )
    return Check("models", "ok", f"champion {champion.model_id}, promoted by {champion.promoted_by}; {signed}")


def check_rights(settings: Settings) -> Iterator[Check]:
    """Check the rights of a worker, as far as the broker reports them without a write."""
    from confluent_kafka import KafkaException

    from stream.kafka.acls import missing_rights

    if settings.security_protocol.startswith("SASL") and settings.sasl_mechanism == "OAUTHBEARER":
        message = "not checked with OAUTHBEARER: start a worker and read the first lines of its log"
        yield Check("rights", "warn", message)
        return
    try:
        missing = missing_rights(settings)
    except KafkaException as error:
        reason = error.args[0].str()
        yield Check("rights", "warn", f"the broker does not report them ({reason}): start a worker and read its log")
        return
    for right in missing:
        yield Check("rights", "fail", f"{right.name}: {' and '.join(right.operations)} denied; {right.advice}")
    if not missing:
        yield Check(
            "rights", "ok", "read windows and models, write events, dead letters and line states, join the group"
        )


def check_disk() -> Check:
    """Check that the disk of the current folder has room for logs and recordings."""
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / (1 << 30):.1f} GiB free in {Path.cwd()}"
    if free < FULL_DISK_BYTES:
        return Check("disk", "fail", f"{text}, so Apache Kafka and recordings will fail: make room")
    if free < LOW_DISK_BYTES:
        return Check("disk", "warn", f"{text}: make room before recording for long")
    return Check("disk", "ok", text)
