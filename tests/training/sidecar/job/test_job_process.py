"""The child process gets no secret, has limits of memory and time, and never outlives the sidecar."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.settings import PREFIX
from training.sidecar.job.process import JobLimits, child_environment, resident_bytes, run_job
from training.sidecar.job.spec import JobProgress

PLENTY = JobLimits(memory_mb=100_000, time_s=600)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def run(code: str, folder: Path, limits: JobLimits = PLENTY) -> tuple[str | None, bool, list[JobProgress]]:
    steps: list[JobProgress] = []
    exited = await run_job(python(code), folder, limits, steps.append)
    return exited.failure, exited.retry, steps


async def test_steps_are_reported_and_other_output_is_not(tmp_path: Path) -> None:
    code = """print('{"progress": 0.5, "stage": "epoch"}'); print("chatter"); print('{"progress": 7}')"""
    failure, _, steps = await run(code, tmp_path)
    assert failure is None
    assert steps == [JobProgress(progress=0.5, stage="epoch")]


async def test_its_own_reason_is_the_failure_and_is_not_tried_again(tmp_path: Path) -> None:
    code = """import sys; print('{"failed": "no data"}'); sys.exit(1)"""
    assert await run(code, tmp_path) == ("no data", False, [])


async def test_a_crash_may_go_better_another_time(tmp_path: Path) -> None:
    failure, retry, _ = await run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path)
    assert failure is not None
    assert "SIGSEGV" in failure
    assert retry
    failure, retry, _ = await run("raise SystemExit(3)", tmp_path)
    assert failure is not None
    assert "status 3" in failure
    assert retry


async def test_too_much_resident_memory_ends_it(tmp_path: Path) -> None:
    code = "import time; block = bytearray(300 << 20); time.sleep(600)"
    failure, retry, _ = await run(code, tmp_path, JobLimits(memory_mb=150, time_s=600))
    assert failure is not None
    assert "more than its limit of 150 MiB: raise FAULTLINE_RETRAIN_MEMORY_MB" in failure
    assert not retry


async def test_reserved_addresses_are_not_memory(tmp_path: Path) -> None:
    code = "import mmap, time; block = mmap.mmap(-1, 4 << 30); time.sleep(2)"
    assert (await run(code, tmp_path, JobLimits(memory_mb=150, time_s=600)))[0] is None


async def test_too_much_time_ends_it(tmp_path: Path) -> None:
    failure, retry, _ = await run("import time; time.sleep(600)", tmp_path, JobLimits(100_000, 0.2))
    assert failure is not None
    assert "raise FAULTLINE_RETRAIN_TIME_LIMIT_S" in failure
    assert not retry


async def test_a_cancelled_trainer_leaves_no_child(tmp_path: Path) -> None:
    started = asyncio.Event()
    pids: list[int] = []

    def on_progress(step: JobProgress) -> None:
        pids.append(int(step.stage))
        started.set()

    code = """import os, time; print('{"stage": "%d"}' % os.getpid(), flush=True); time.sleep(600)"""
    task = asyncio.create_task(run_job(python(code), tmp_path, PLENTY, on_progress))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_killed_trainer_leaves_no_child() -> None:
    code = (
        "from training.sidecar.job.main import end_with_parent; import sys, time\n"
        "end_with_parent(); print('up', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()  # as the kernel does when the other end's process is killed
    assert child.wait(30) == 1


def test_the_child_gets_the_gate_and_no_secret() -> None:
    given = {
        f"{PREFIX}RETRAIN_TOKEN": "secret",
        f"{PREFIX}SASL_PASSWORD": "secret",
        f"{PREFIX}MODEL_PRIVATE_KEY": "key",
        f"{PREFIX}GATE_ECE": "0.1",
        f"{PREFIX}LOG_LEVEL": "debug",
        "PATH": "/bin",
    }
    assert child_environment(given) == {f"{PREFIX}GATE_ECE": "0.1", f"{PREFIX}LOG_LEVEL": "debug", "PATH": "/bin"}


def test_resident_memory_of_this_process_is_known_and_of_none_is_not() -> None:
    known = resident_bytes(os.getpid())
    assert known is not None
    assert 10 << 20 < known < 100 << 30
    gone = subprocess.Popen(python(""))
    gone.wait()
    end = time.monotonic() + 10
    while resident_bytes(gone.pid) is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert resident_bytes(gone.pid) is None
