"""Run the child process of a retraining, and kill it if it exceeds its limits of memory or time."""

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

CHECK_EVERY_S = 0.5
"""Interval of the checks in seconds; a child that grows by a GiB per second exceeds its limit by half a GiB."""
MIB = 1 << 20
# Prefixes of the settings passed to the child: logging and the gate's limits. It needs no broker and no secret.
CHILD_SETTINGS = ("FAULTLINE_GATE_", "FAULTLINE_LOG_", "FAULTLINE_TEST_")


@dataclass(frozen=True)
class JobLimits:
    """Limits of one attempt: resident memory in MiB (None: no limit), and time in seconds."""

    memory_mb: int | None
    time_s: float


@dataclass(frozen=True)
class JobExit:
    """Result of an attempt: the reason of its ``failure`` or None; ``retry`` is True if another attempt may succeed."""

    failure: str | None
    retry: bool = False


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the child: all except the Faultline settings that it does not need, such as secrets."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("FAULTLINE_") or name.upper().startswith(CHILD_SETTINGS)
    }


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes; None if it has ended or the system does not report it.

    Resident memory is compared with the limit, since TensorFlow reserves far more virtual memory than it uses.
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


async def run_job(
    command: Sequence[str], folder: Path, limits: JobLimits, on_progress: Callable[[JobProgress], None]
) -> JobExit:
    """Run one attempt in a child process; a cancellation kills the child, whose work so far stays in its folder.

    Args:
        command: command of the child; ``folder`` is appended.
        folder: folder of the retraining.
        limits: limits beyond which the child is killed.
        on_progress: called with every progress line of the child.

    Returns:
        The result of the attempt.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        str(folder),
        stdin=asyncio.subprocess.PIPE,  # closes when this process ends, which ends the child
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(os.environ),
    )
    log.info("job-started", pid=process.pid, folder=str(folder))
    watch = asyncio.create_task(_enforce(process, limits), name="job-limits")
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
                on_progress(step)
        status = await process.wait()
    finally:
        watch.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    exceeded = watch.result() if watch.done() and not watch.cancelled() else None
    exited = _exit(status, reason, exceeded)
    log.info("job-ended", status=status, failure=exited.failure)
    return exited


def _exit(status: int, reason: str | None, exceeded: str | None) -> JobExit:
    if exceeded is not None:
        return JobExit(exceeded)
    if reason is not None:
        return JobExit(reason)
    if status == 0:
        return JobExit(None)
    if status < 0:
        name = signal.Signals(-status).name
        hint = ", probably because the machine ran out of memory" if -status == signal.SIGKILL else ""
        return JobExit(f"the training process was ended by {name}{hint}", retry=True)
    return JobExit(f"the training process ended with status {status}: read its log for the reason", retry=True)


async def _enforce(process: asyncio.subprocess.Process, limits: JobLimits) -> str:
    """Kill the process once it exceeds a limit, and return the reason."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.time_s
    while True:
        await asyncio.sleep(CHECK_EVERY_S)
        resident = resident_bytes(process.pid)
        if resident is not None and limits.memory_mb is not None and resident > limits.memory_mb * MIB:
            reason = (
                f"the training used {resident // MIB} MiB of memory, more than its limit of {limits.memory_mb} MiB: "
                "raise FAULTLINE_RETRAIN_MEMORY_MB or, if that is not set, the memory of the container or machine; or "
                "lower FAULTLINE_RETRAIN_EPISODES"
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
