"""The command for accelerators runs on a CPU, and says what it found and what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engine.gpu import NEEDED, Backend, missing, one_line
from benchmarks.engine.gpu_process import FEW_LINES, WAYS, copy_ms, measure
from model.artefact import shipped
from model.engine import Copied, Engine
from model.engine.compile import has_accelerator, use_full_precision

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.engine.gpu", *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    assert missing(NEEDED) == []
    (sentence,) = missing(("numpy", "no_such_one", "nor_this"))
    assert sentence.startswith("missing: no_such_one, nor_this. Run: pip install ")


def test_one_line_tells_backend_and_devices() -> None:
    assert one_line(Backend("jax", "1.0", ("H200", "H200"), True)) == "Keras on jax 1.0: accelerator H200, H200"
    assert one_line(Backend("torch", "2", ("CPU x",))) == "Keras on torch 2: no accelerator, only CPU x"
    assert one_line(Backend("jax", reason="no libcuda")) == "Keras on jax: cannot be used: no libcuda"


@pytest.mark.slow
def test_without_an_accelerator_the_command_says_so_and_what_to_do() -> None:
    if has_accelerator():
        pytest.skip("this machine has an accelerator")
    done = run("--no-tests")
    assert done.returncode == 2, done.stderr
    first, second = done.stdout.strip().splitlines()
    assert "no accelerator, only CPU" in first
    assert "add --cpu" in second


@pytest.mark.slow
def test_the_command_measures_on_a_cpu_and_writes_the_figures(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run("--cpu", "--no-tests", "--batch", "30", "--seconds", "0.01", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "30 of 24 lines, in turn" in done.stdout
    found = json.loads(out.read_text())
    assert not found["accelerated"]
    assert [(row["batch"], row["lines"]) for row in found["rows"]] == [(30, 30), (30, 24)]


def test_memories_that_are_kept_are_not_copied() -> None:
    with Engine(shipped("line"), threads=1, buckets=(32,)) as engine:
        found = measure(engine, 32, FEW_LINES, seconds=0)
        memories = 32 * engine.memory_units * 4  # padded to the bucket
    assert set(found["windows_per_s"]) == set(WAYS)
    kept, copied = found["copies"]["kept"], found["copies"]["copied"]
    assert copied["to_host"] - kept["to_host"] == memories
    assert copied["to_device"] - kept["to_device"] == memories + 2 * 32 * 4, "and twice the rows of the table"
    assert kept["to_host"] == 32 * len(engine.spec.classes) * 4
    assert copy_ms(Copied(4096, 4096)) > 0


def test_tensorflow_does_not_round_factors_once_full_precision_is_asked_for() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    use_full_precision()
    assert not tensorflow.config.experimental.tensor_float_32_execution_enabled()
