"""Processes of the demo: started apart from the terminal's group, and gone when the demo is, however it ends."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from model.errors import FaultlineError

TAIL_LINES = 15
POLL_S = 0.05
PR_SET_PDEATHSIG = 1
REPOSITORY = Path(__file__).resolve().parents[2]
PASSED_ON = ("FAULTLINE_MODEL", "FAULTLINE_INFERENCE_THREADS", "FAULTLINE_LOG_LEVEL")
"""Of our settings only these reach the children: a broker or a topic set for production must not."""


class ChildFailedError(FaultlineError):
    """A process of the demo ended when it should not have; the message shows the end of its log."""


def child_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a child: ours without the settings, plus those given."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("FAULTLINE_") or name in PASSED_ON
    }
    if "FAULTLINE_MODEL" in environment:
        # The children run in a folder of their own.
        environment["FAULTLINE_MODEL"] = str(Path(environment["FAULTLINE_MODEL"]).resolve())
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(REPOSITORY) if not path else f"{REPOSITORY}{os.pathsep}{path}"
    environment["TF_CPP_MIN_LOG_LEVEL"] = environment.get("TF_CPP_MIN_LOG_LEVEL", "2")
    environment |= {f"FAULTLINE_{name.upper()}": value for name, value in settings.items()}
    return environment


def with_parent() -> Callable[[], None] | None:
    """Return what a child does before it becomes itself: ask Linux for a SIGKILL when this process dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the request
            os._exit(1)

    return die_with_parent


class Child:
    """One ``faultline`` command in a process of its own. Call from the main thread: Linux ties it to the thread.

    Args:
        name: for messages and the names of its files.
        arguments: of ``faultline``.
        folder: where it runs, and where ``<name>.out`` and ``<name>.log`` (standard error) are written.
        environment: all of it.
    """

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.out, self.log = folder / f"{name}.out", folder / f"{name}.log"
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = self._start([sys.executable, "-m", "faultline", *arguments], folder, environment, out, log)

    @staticmethod
    def _start(
        command: Sequence[str], folder: Path, environment: Mapping[str, str], out: IO[bytes], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            # Ctrl-C reaches the demo alone, which then stops its children in order.
            process_group=0,
            preexec_fn=with_parent(),
        )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise ChildFailedError if it ended with an error."""
        status = self.process.poll()
        if status:
            raise self.failed(f"ended with {_in_words(status)}")

    def failed(self, what: str) -> ChildFailedError:
        """Return the error that says what happened to it, with the end of its log."""
        text = (self.log.read_text("utf-8", "replace") + self.out.read_text("utf-8", "replace")).splitlines()
        tail = "\n".join(f"  | {line[:300]}" for line in text[-TAIL_LINES:])
        return ChildFailedError(f"the {self.name} {what}" + (f"; the end of its log:\n{tail}" if tail else ""))

    def stop(self, grace_s: float) -> int:
        """End it by SIGTERM, or by SIGKILL if that takes longer than ``grace_s``; returns its exit status."""
        if self.running:
            self.process.terminate()
        end = time.monotonic() + grace_s
        while self.running and time.monotonic() < end:
            time.sleep(POLL_S)
        if self.running:
            self.process.kill()
        return self.process.wait()


def _in_words(status: int) -> str:
    return f"status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"


def logged_port(log: Path) -> int | None:
    """Return the port of a worker's health pages, which with port 0 stands only in its log; None before it does."""
    for line in log.read_text("utf-8", "replace").splitlines():
        if '"web-listening"' in line:
            return int(json.loads(line)["port"])
    return None


def is_ready(port: int) -> bool:
    """Return whether a worker on this machine reports that windows sent now would be processed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
