"""Start the stack with the secure overlay, on secrets of its own, and test which accesses are refused.

    python3 -m tests.deploy.secure              with the images there are; --keep leaves the stack running

Needs Docker with its Compose plugin and the image for the CPU (make smoke builds it).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.smoke import say, start
from tests.deploy.stack import IMAGE, REPOSITORY, SmokeError, Stack, wait_until

WRITE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer
from stream.kafka.clients import producer_kwargs
from stream.settings import load_settings

async def write(topic):
    async with AIOKafkaProducer(**producer_kwargs(load_settings())) as producer:
        await producer.send_and_wait(topic, b"{}", b"smoke")

try:
    asyncio.run(write(sys.argv[1]))
except Exception as error:
    print(type(error).__name__)
else:
    print("written")
"""
SHIPPED = "from model.domain import load_domain; print(load_domain('powerline').artefacts()['line'])"


def prepare(folder: Path) -> None:
    """Make certificates, users and keys, as described at the top of deploy/secure/prepare.py."""
    with (REPOSITORY / "deploy" / "secure" / "prepare.py").open("rb") as script:
        done = subprocess.run(
            [
                *("docker", "run", "--rm", "-i", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"),
                *("-v", f"{folder}:/secrets", "--entrypoint", "python3", IMAGE, "-", "/secrets"),
            ],
            stdin=script,
            capture_output=True,
            text=True,
            timeout=120,
        )
    if done.returncode != 0:
        raise SmokeError(f"no secrets: {done.stderr}")


def refused(stack: Stack, what: str, word: str, *arguments: str, **environment: str) -> None:
    """Request the topics as a user who must be refused with a line that contains ``word``."""
    given = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    done = stack.attempt("run", "--rm", "-T", "--no-deps", *given, "cli", *arguments)
    line = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == 0 or word.lower() not in line.lower():
        raise SmokeError(f"{what}: not refused as it should be (status {done.returncode}): {done.stderr}")
    say(f"{what} is refused: {line[:150]}")


def clients(stack: Stack) -> None:
    """Check that access requires a login, TLS, and a broker whose name is in its certificate."""
    ask = ("topics", "check")
    refused(stack, "a client without TLS", "broker", *ask, FAULTLINE_SECURITY_PROTOCOL="PLAINTEXT")
    refused(stack, "a client without login", "", *ask, FAULTLINE_SECURITY_PROTOCOL="SSL")
    refused(stack, "a wrong password", "login", *ask, FAULTLINE_SASL_PASSWORD="wrong")
    refused(stack, "the system's CAs", "certificate", *ask, FAULTLINE_SSL_CAFILE="/etc/ssl/certs/ca-certificates.crt")
    address = stack.run("exec", "-T", "worker", "getent", "hosts", "broker").split()[0]
    refused(stack, "another host name", "certificate", *ask, FAULTLINE_BROKER=f"{address}:19092")


def rights(stack: Stack) -> None:
    """Check the write access of each role, with its own login in its own container."""
    denied, done = "TopicAuthorizationFailedError", "written"
    tries = {
        ("worker", "models"): denied,
        ("worker", "sensor-windows"): denied,
        ("worker", "faults.lllg"): done,
        ("trainer", "faults.lg"): denied,
        ("trainer", "line-states"): denied,
        ("demo", "faults.lg"): denied,
        ("demo", "models"): denied,
    }
    for (service, topic), expected in tries.items():
        found = stack.run("exec", "-T", service, "python3", "-c", WRITE, topic).strip().splitlines()[-1]
        say(f"{service} writes to {topic}: {found}")
        if found != expected:
            raise SmokeError(f"{service} on {topic}: {found}, not {expected}")


def events(stack: Stack) -> None:
    """Check that a subscriber with its own login sees faults."""
    stack.environment["ROLE"] = "subscriber"
    found = stack.run("run", "--rm", "-T", "--no-deps", "cli", "subscribe", "--json", "--limit", "2", "--timeout", "90")
    for line in found.splitlines():
        event = json.loads(line)
        say(f"subscriber: {event['line']} {event['state']} {event['fault_class']}")


def signatures(stack: Stack) -> None:
    """Check that a model signed with the trainer's key is used, and an administrator's unsigned model is refused."""
    artefact = stack.run("exec", "-T", "trainer", "python3", "-c", SHIPPED).strip()
    say(stack.faultline("models", "promote", artefact, "--reason", "signed", service="trainer").strip())
    say("\n".join(stack.faultline("models", "list", service="trainer").splitlines()[:3]))
    stack.environment["ROLE"] = "admin"
    forged = stack.attempt(
        *(
            "run",
            "--rm",
            "-T",
            "--no-deps",
            "--entrypoint",
            "python3",
            "cli",
            "-c",
            WRITE.replace('b"smoke"', 'b"line"'),
        ),
        "models",
    )
    if forged.stdout.strip() != "written":
        raise SmokeError(f"the administrator could not write: {forged.stdout}{forged.stderr}")

    def counted() -> bool:
        return any(
            name.startswith("faultline_models_refused_total{") and value for name, value in stack.metrics().items()
        )

    wait_until(counted, 60, "the worker to refuse what is not signed")
    refusals = {
        name: value for name, value in stack.metrics().items() if name.startswith("faultline_models_refused_total{")
    }
    say(f"worker refused what was put there without the key: {refusals}; model in use {stack.model()}")


def main() -> int:
    """Run all checks and return exit status 0 if they pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultline-secure-") as made:
        secrets, records = Path(made) / "secrets", Path(made) / "records"
        secrets.mkdir()
        records.mkdir()
        stack = Stack(("demo",), ("deploy/secure/compose.yml",), records)
        stack.environment |= {"SECRETS": str(secrets), "ROLE": "subscriber"}
        try:
            prepare(secrets)
            for part in (start, clients, rights, events, signatures):
                part(stack)
        except (SmokeError, subprocess.SubprocessError) as error:
            print(f"secure overlay failed: {error}", file=sys.stderr)
            return 1
        finally:
            if not options.keep:
                stack.run("down", "--volumes", timeout_s=180, check=False)
    say("secure overlay: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
