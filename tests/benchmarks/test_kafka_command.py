"""Apache Kafka for development starts in the background, is found again, and stops on request or on Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.kafka.server import answers_clients, is_alive

COMMAND = [
    sys.executable,
    "-c",
    "import sys\nfrom benchmarks.kafka.cli import app\nfrom model.errors import FaultlineError\n"
    "try:\n    app()\nexcept FaultlineError as error:\n    sys.exit(f'faultline: {error}')",
]

pytestmark = pytest.mark.kafka


def kafka_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def gone(pid: int, deadline_s: float = 40.0) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_detached_kafka_is_found_again_and_stopped(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path)]
    assert "python -m benchmarks.kafka start" in kafka_command("status", *folder).stderr
    started = kafka_command("start", "--detach", *folder)
    assert started.returncode == 0, started.stderr
    address = started.stdout.strip()
    pid = int((tmp_path / "kafka.pid").read_text().split()[0])
    try:
        assert answers_clients(address, timeout_s=10)
        assert kafka_command("status", *folder).stdout.strip() == address
        again = kafka_command("start", "--detach", *folder)
        assert again.returncode == 1
        assert f"already running at {address}" in again.stderr
        stopped = kafka_command("stop", *folder)
        assert stopped.returncode == 0, stopped.stderr
        assert gone(pid)
        assert "nothing to stop" in kafka_command("stop", *folder).stderr
    finally:
        if not gone(pid, deadline_s=0.2):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_in_the_foreground_kafka_ends_with_the_command(tmp_path: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        [*COMMAND, "start", "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    pid = int((tmp_path / "kafka.pid").read_text().split()[0])
    assert answers_clients(address, timeout_s=10)
    process.send_signal(end)
    process.communicate(timeout=60)
    assert gone(pid)
    assert process.returncode == (0 if end is signal.SIGINT else -signal.SIGKILL)


def test_a_pid_file_of_a_crash_does_not_block_a_start(tmp_path: Path) -> None:
    (tmp_path / "kafka.pid").write_text(f"{os.getpid()} 127.0.0.1:9092\n")
    status = kafka_command("status", "--data-dir", str(tmp_path))
    assert status.returncode == 1
    assert "python -m benchmarks.kafka start" in status.stderr
