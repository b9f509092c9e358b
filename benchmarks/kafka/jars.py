"""Fetch Apache Kafka's jars once by Maven from ``deploy/kafka/pom.xml``, and find them later without a network."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import structlog

from stream.errors import KafkaServerError

REPOSITORY = Path(__file__).resolve().parents[2]
POM = REPOSITORY / "deploy" / "kafka" / "pom.xml"
LOG_CONFIGURATION = POM.with_name("log4j2.properties")
STATE_FOLDER = REPOSITORY / ".kafka"  # jars, and the data of `python -m benchmarks.kafka start`; never committed

MAVEN_DEADLINE_S = 600.0  # enough for about 45 MB over a slow connection

log = structlog.get_logger(__name__)


def java_command() -> str:
    """Return the path of ``java``.

    Raises:
        KafkaServerError: no ``java`` was found.
    """
    java = shutil.which("java")
    if java is None:
        raise KafkaServerError(
            "Apache Kafka needs Java 17 or newer, but no 'java' was found: install a JRE (Debian: "
            "apt-get install openjdk-17-jre-headless), or use the embedded broker: faultline broker"
        )
    return java


def jar_folder() -> Path:
    """Return the folder of the jars that ``pom.xml`` names now, which may not exist yet.

    Raises:
        KafkaServerError: this is not a checkout.
    """
    if not POM.is_file():
        raise KafkaServerError(
            "this command needs a checkout of Faultline (deploy/kafka/pom.xml is not part of the installed "
            "package): run it there, set FAULTLINE_BROKER to an existing broker, or use: faultline broker"
        )
    stamp = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    return STATE_FOLDER / "libs" / stamp


def prepare_jars() -> Path:
    """Return the folder with Apache Kafka's jars; run Maven only if ``pom.xml`` is new to this checkout.

    The folder is named by the hash of ``pom.xml`` and is created by one rename, so an existing folder is complete, and
    a later start needs neither Maven nor a network. A lock makes concurrent processes wait, since Maven's own cache
    does not support two.

    Raises:
        KafkaServerError: this is not a checkout, Maven is missing, or Maven failed; the message holds Maven's error.
    """
    folder = jar_folder()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaServerError(
            "Maven fetches Apache Kafka's jars, but no 'mvn' was found: install it (Debian: "
            "apt-get install maven), or use the embedded broker: faultline broker"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            log.info("kafka-jars-fetching", pom=str(POM.relative_to(REPOSITORY)))
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                filled = Path(scratch) / "jars"
                _run_maven(maven, filled)
                filled.rename(folder)
    return folder


def _run_maven(maven: str, target: Path) -> None:
    command = [maven, "--quiet", "--batch-mode", "--file", str(POM)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAVEN_DEADLINE_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise KafkaServerError(
            f"Maven did not fetch Apache Kafka within {MAVEN_DEADLINE_S:.0f} s: check the network or the "
            "mirror in your Maven settings, then try again"
        ) from None
    if done.returncode != 0 or not target.is_dir():
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        reason = errors[0].removeprefix("[ERROR] ") if errors else f"exit status {done.returncode}"
        raise KafkaServerError(
            f"Maven could not fetch Apache Kafka: {reason}. Check the network or the mirror in your Maven "
            "settings, then try again"
        )
