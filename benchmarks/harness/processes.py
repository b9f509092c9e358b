"""Run contenders and loads as processes, and measure the CPU seconds and memory of the process and its children."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from pydantic import BaseModel

from benchmarks.contenders.settings import READY
from benchmarks.harness.broker import BenchError
from faultline.demo.processes import child_environment, with_parent

SAMPLE_S = 0.2
START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 40.0
TAIL_LINES = 8


class Measured:
    """A process that runs one of our modules with a settings file.

    Args:
        module: name of the module, run by ``python -m``.
        settings: settings, written to the file that is the module's only argument.
        folder: folder of the settings file and the log.
        name: name of both files, without suffix.
        cores: CPUs that the process may use; all if None.
    """

    def __init__(
        self, module: str, settings: BaseModel, folder: Path, name: str, *, cores: Sequence[int] | None = None
    ) -> None:
        """Start the process and two threads that watch it."""
        path, self.log = folder / f"{name}.json", folder / f"{name}.log"
        path.write_text(settings.model_dump_json())
        self.name = name
        self.started_ms = time.time() * 1000
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(path)],
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # The kernel ends the process if the harness is killed.
                preexec_fn=with_parent(),
            )
        self._tree = psutil.Process(self.process.pid)
        if cores is not None:
            self._tree.cpu_affinity(list(cores))
        self._ready = threading.Event()
        self._over = threading.Event()
        self.peak_rss = 0
        self.rss: list[tuple[float, int]] = []
        """Resident memory over time: seconds (monotonic) and bytes."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == READY:
                self._ready.set()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            bytes_ = 0
            for process in self._processes():
                try:
                    bytes_ += process.memory_info().rss
                except psutil.Error:
                    continue
            self.rss.append((time.monotonic(), bytes_))
            self.peak_rss = max(self.peak_rss, bytes_)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._tree, *self._tree.children(recursive=True)]
        except psutil.Error:
            return []

    def cpu_s(self) -> float:
        """Return the user and system seconds that the process and its children have used so far."""
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self.process.poll() is None

    def check(self) -> None:
        """Check that the process still runs.

        Raises:
            BenchError: it has ended; the message holds the end of its log.
        """
        if not self.running:
            raise BenchError(
                f"{self.name} ended with status {self.process.returncode}; the end of its log:\n{self._tail()}"
            )

    def _tail(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"  | {line[:300]}" for line in lines)

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> Self:
        """Wait until the process prints ``ready``.

        Raises:
            BenchError: it ended, or was not ready within ``deadline_s``.
        """
        end = time.monotonic() + deadline_s
        while not self._ready.wait(0.02):
            self.check()
            if time.monotonic() > end:
                raise BenchError(f"{self.name} was not ready within {deadline_s:.0f} s; its log:\n{self._tail()}")
        return self

    def wait_ended(self, deadline_s: float) -> None:
        """Wait until the process has ended by itself.

        Raises:
            BenchError: it failed, or did not end within ``deadline_s``.
        """
        try:
            status = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} did not end within {deadline_s:.0f} s: read {self.log}") from None
        if status:
            self.check()

    def stop(self) -> None:
        """Stop the process by SIGTERM, or by SIGKILL if it does not end within the deadline."""
        self._over.set()
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.stop()
