"""Start, query and await the compose stack under a name of its own, with the standard library alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = "faultline-smoke"
VERSION: str = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
IMAGE = f"faultline:{VERSION}-cpu"
WORKER_IMAGE = f"faultline:{VERSION}-worker"
HEALTHY_S = 300.0
LEAST_COMPOSE = (2, 24)
"""``required: false`` of an env_file is from this version."""
USER_OF_IMAGE = "10001:10001"


class SmokeError(Exception):
    """A check has failed."""


def compose_command() -> list[str]:
    """Return ``docker compose``, or the command that DOCKER_COMPOSE names."""
    given = os.environ.get("DOCKER_COMPOSE")
    if given:
        return given.split()
    if shutil.which("docker") is None:
        raise SmokeError("docker is not installed")
    return ["docker", "compose"]


def require_compose() -> None:
    """Raise SmokeError if Docker Compose is too old to read the files."""
    done = subprocess.run([*compose_command(), "version", "--short"], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SmokeError(f"Docker Compose is not installed: {(done.stderr or done.stdout).strip()}")
    check_compose(done.stdout)


def check_compose(version: str) -> None:
    """Raise SmokeError if a version printed by ``docker compose version --short`` is too old."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    if tuple(numbers) < LEAST_COMPOSE:
        needed = ".".join(map(str, LEAST_COMPOSE))
        raise SmokeError(f"Docker Compose is {version.strip() or 'of no version'}: it must be {needed} or later")


def free_ports(count: int) -> list[int]:
    """Return loopback ports that were just free."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Stack:
    """The containers of one run."""

    def __init__(self, profiles: tuple[str, ...], files: tuple[str, ...], records: Path) -> None:
        broker, worker, trainer, prometheus, grafana, ui = free_ports(6)
        self.environment = {
            **os.environ,
            "BROKER_PORT": str(broker),
            "WORKER_PORTS": str(worker),
            "TRAINER_PORT": str(trainer),
            "PROMETHEUS_PORT": str(prometheus),
            "GRAFANA_PORT": str(grafana),
            "UI_PORT": str(ui),
            "SETTINGS": str(REPOSITORY / "tests" / "deploy" / "smoke.env"),
            "RECORDS": str(records),
            # root's ids are not for a container: as root, the folder is made writable for the image's user.
            "RECORDS_USER": f"{os.getuid()}:{os.getgid()}" if os.getuid() else USER_OF_IMAGE,
            "DEMO_LINES": os.environ.get("DEMO_LINES", "6"),
        }
        self._command = [*compose_command(), "-p", PROJECT, "--project-directory", str(REPOSITORY)]
        for file in ("docker-compose.yml", *files):
            self._command += ["-f", str(REPOSITORY / file)]
        for profile in profiles:
            self._command += ["--profile", profile]

    def attempt(self, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose …``, whatever its exit status."""
        return subprocess.run(
            [*self._command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def run(self, *arguments: str, timeout_s: float = 600, check: bool = True) -> str:
        """Return the standard output of ``docker compose …``; raise if it fails."""
        done = self.attempt(*arguments, timeout_s=timeout_s)
        if check and done.returncode != 0:
            raise SmokeError(f"docker compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}".strip())
        return done.stdout

    def faultline(self, *arguments: str, service: str = "worker", timeout_s: float = 120) -> str:
        """Return the output of a Faultline command in a running container."""
        return self.run("exec", "-T", service, "faultline", *arguments, timeout_s=timeout_s)

    def containers(self) -> list[dict[str, Any]]:
        """Return the output of ``docker inspect`` for all containers."""
        return self.inspect(self.run("ps", "-a", "-q").split())

    def inspect(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return the output of ``docker inspect`` for some containers."""
        shown = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True, timeout=60)
        found: list[dict[str, Any]] = json.loads(shown.stdout)
        return found

    def crash(self, service: str) -> None:
        """Kill a container's process by SIGKILL and return when Docker has started it again.

        `docker kill` is not used, because a container then stays down whatever its restart policy.
        """
        (shown,) = self.inspect(self.run("ps", "-q", service).split())
        state = shown["State"]
        command = ["docker", "run", "--rm", "--pid", "host", "--user", "0", "--network", "none", "--entrypoint", "sh"]
        subprocess.run(
            [*command, IMAGE, "-c", f"kill -9 {state['Pid']}"],
            capture_output=True,
            check=True,
            timeout=60,
        )

        def started_again() -> bool:
            (now,) = self.inspect([str(shown["Id"])])
            return bool(now["State"]["StartedAt"] != state["StartedAt"] and now["State"]["Running"])

        wait_until(started_again, 60, f"Docker to start {service} again")

    def states(self) -> dict[str, str]:
        """Return the state of every container: healthy, running, exited 0 and so on."""
        found = {}
        for one in self.containers():
            state = one["State"]
            health = state.get("Health", {}).get("Status")
            words = f"exited {state['ExitCode']}" if state["Status"] == "exited" else health or state["Status"]
            found[str(one["Name"]).removeprefix(f"/{PROJECT}-")] = words
        return found

    def wait_healthy(self, deadline_s: float = HEALTHY_S) -> float:
        """Wait until every container is healthy and every job is done; return the seconds that it took."""
        begin = time.monotonic()
        while True:
            states = self.states()
            wrong = {name: state for name, state in states.items() if state not in ("healthy", "running", "exited 0")}
            if states and not wrong:
                return time.monotonic() - begin
            if time.monotonic() - begin > deadline_s:
                raise SmokeError(f"not healthy after {deadline_s:.0f} s: {wrong}; docker compose -p {PROJECT} logs")
            time.sleep(1)

    def metrics(self, service: str = "worker", port: int = 8066) -> dict[str, float]:
        """Return the values of the series that Prometheus would scrape."""
        code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        text = self.run("exec", "-T", service, "python3", "-c", code)
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def model(self) -> str:
        """Return the id of the model that the worker uses."""
        found = [name for name, value in self.metrics().items() if name.startswith("faultline_model_info") and value]
        return found[0].partition('model_id="')[2].partition('"')[0] if found else "none"


def wait_until(true: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Repeat a check until it is true."""
    end = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > end:
            raise SmokeError(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(1)
