"""Runs the child process of a retraining and ends it when it takes too much memory or time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from training.sidecar.job.spec import JobProgress

log = structlog.get_logger(__name__)

WATCH_EVERY_S = 0.5
MIB = 1 << 20
# What the child is told of our settings: how to log and the gate's limits. It needs no broker and no secret.
PASSED_ON = ("FAULTLINE_GATE_", "FAULTLINE_LOG_", "FAULTLINE_TEST_")


@dataclass(frozen=True)
class Limits:
    """What an attempt may take."""

    memory_mb: int
    time_s: float


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: ``failure`` None means well; ``again`` whether another may go better."""

    failure: str | None
    again: bool = False


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the child gets: all but those of ours that it has no use for, secrets among them."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("FAULTLINE_") or name.upper().startswith(PASSED_ON)
    }


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process; None where it is gone or the system does not tell.

    Resident and not virtual memory, since TensorFlow reserves far more addresses than it uses.
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


async def run_child(command: Sequence[str], folder: Path, limits: Limits, tell: Callable[[JobProgress], None]) -> Ended:
    """Run one attempt in a process of its own.

    Args:
        command: of the child; ``folder`` is added.
        folder: of the retraining.
        limits: beyond them it is killed.
        tell: called with every step that the child tells of.

    When this is cancelled, the child is killed: what it has done so far is in its folder.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        str(folder),
        stdin=asyncio.subprocess.PIPE,  # closes when we die, which ends the child
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(os.environ),
    )
    log.info("attempt-started", pid=process.pid, folder=str(folder))
    watch = asyncio.create_task(_watch(process, limits), name="attempt-limits")
    reason: str | None = None
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                step = JobProgress.model_validate_json(line)
            except ValidationError:
                continue
            if step.failed is not None:
                reason = step.failed
            else:
                tell(step)
        status = await process.wait()
    finally:
        watch.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    beyond = watch.result() if watch.done() and not watch.cancelled() else None
    ended = _ended(status, reason, beyond)
    log.info("attempt-ended", status=status, failure=ended.failure)
    return ended


def _ended(status: int, reason: str | None, beyond: str | None) -> Ended:
    if beyond is not None:
        return Ended(beyond)
    if reason is not None:
        return Ended(reason)
    if status == 0:
        return Ended(None)
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; was the machine out of memory?" if -status == signal.SIGKILL else ""
        return Ended(f"the training's process was ended by {name}{hint}", again=True)
    return Ended(f"the training's process ended with status {status}: its log says why", again=True)


async def _watch(process: asyncio.subprocess.Process, limits: Limits) -> str:
    """Return why the process was killed, once it was."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.time_s
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        taken = resident_bytes(process.pid)
        if taken is not None and taken > limits.memory_mb * MIB:
            reason = (
                f"the training took {taken // MIB} MiB, more than {limits.memory_mb}: "
                "raise FAULTLINE_RETRAIN_MEMORY_MB or lower FAULTLINE_RETRAIN_EPISODES"
            )
        elif loop.time() > end:
            reason = (
                f"the training took more than {limits.time_s:.0f} s: "
                "raise FAULTLINE_RETRAIN_TIME_LIMIT_S or lower FAULTLINE_RETRAIN_EPOCHS"
            )
        else:
            continue
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return reason
