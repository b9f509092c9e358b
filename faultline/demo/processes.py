"""Start and stop the processes of the demo, outside the terminal's process group; no process outlives the demo."""

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
"""Settings that the children inherit. No other is passed on, since a production broker or topic must not reach them."""


class ChildFailedError(FaultlineError):
    """A process of the demo ended too early; the message shows the end of its log."""


def child_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a child: that of this process without Faultline settings, plus ``settings``."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("FAULTLINE_") or name in PASSED_ON
    }
    if "FAULTLINE_MODEL" in environment:
        # The children have another working directory.
        environment["FAULTLINE_MODEL"] = str(Path(environment["FAULTLINE_MODEL"]).resolve())
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(REPOSITORY) if not path else f"{REPOSITORY}{os.pathsep}{path}"
    environment["TF_CPP_MIN_LOG_LEVEL"] = environment.get("TF_CPP_MIN_LOG_LEVEL", "2")
    environment |= {f"FAULTLINE_{name.upper()}": value for name, value in settings.items()}
    return environment


def with_parent() -> Callable[[], None] | None:
    """Return a function that a child calls before exec: it asks Linux for SIGKILL when this process dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died between the fork and the request
            os._exit(1)

    return die_with_parent


class Child:
    """One ``faultline`` command as a child process.

    Create it in the main thread: Linux kills the child when the thread that started it ends.

    Args:
        name: name for messages and file names.
        arguments: arguments of ``faultline``.
        folder: working directory, which also gets ``<name>.out`` and ``<name>.log`` (standard error).
        environment: the complete environment.
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
            # The child has its own group, so that Ctrl-C reaches only the demo, which then stops its children in order.
            process_group=0,
            preexec_fn=with_parent(),
        )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Return True until the process has ended."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise ChildFailedError if the process ended with an error."""
        status = self.process.poll()
        if status:
            raise self.failed(f"ended with {_in_words(status)}")

    def failed(self, what: str) -> ChildFailedError:
        """Return an error with the message ``what`` and the end of the process's log."""
        text = (self.log.read_text("utf-8", "replace") + self.out.read_text("utf-8", "replace")).splitlines()
        tail = "\n".join(f"  | {line[:300]}" for line in text[-TAIL_LINES:])
        return ChildFailedError(f"the {self.name} {what}" + (f"; the end of its log:\n{tail}" if tail else ""))

    def stop(self, grace_s: float) -> int:
        """Stop the process with SIGTERM, or with SIGKILL after ``grace_s`` seconds; return its exit status."""
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
    """Return the port of a worker's health pages from its log, which alone has it for port 0; None if not yet there."""
    for line in log.read_text("utf-8", "replace").splitlines():
        if '"web-listening"' in line:
            return int(json.loads(line)["port"])
    return None


def is_ready(port: int) -> bool:
    """Return True if a worker on this machine reports that it is ready to process windows."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
