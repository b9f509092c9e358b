"""Run the engine's tests on an accelerator, and measure windows/s by batch size and the copies of memories.

The command uses the Keras backend that is installed: JAX, PyTorch or TensorFlow, the first one with an accelerator,
unless KERAS_BACKEND names one. It needs no broker and none of the packages of a worker.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

__all__ = ["BACKENDS", "BATCHES", "Backend", "main", "missing", "one_line", "without_accelerator"]

BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow"}
"""Modules of the Keras backends, in the order in which they are tried."""
BATCHES = (24, 256, 1024, 4096, 16_384)
NEEDED = ("keras", "numpy", "pydantic", "structlog", "threadpoolctl")
FOR_TESTS = ("pytest", "hypothesis")
_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = """examples:
  make gpu                                                   tests and figures of this machine's accelerator
  python -m benchmarks.engine.gpu --cpu --no-tests           the same figures of the CPU, to try the command
  KERAS_BACKEND=torch python -m benchmarks.engine.gpu --batch 4096 --out gpu.json

Without TensorFlow, in a checkout:
  python3 -m venv gpu && gpu/bin/pip install 'jax[cuda13]' -c constraints.txt keras numpy pydantic structlog \\
      threadpoolctl pytest hypothesis && gpu/bin/pip install --no-deps -e .
  make gpu GPU_PYTHON=gpu/bin/python"""


@dataclass(frozen=True)
class Backend:
    """A Keras backend of this machine.

    Attributes:
        name: name of the backend.
        version: version of its package.
        devices: names of the devices that it sees.
        accelerated: True if it computes on a GPU or TPU.
        reason: why it cannot be used; empty if it can.
    """

    name: str
    version: str = ""
    devices: tuple[str, ...] = ()
    accelerated: bool = False
    reason: str = ""


def missing(names: Sequence[str]) -> list[str]:
    """Return a sentence for each thing that is not installed: modules, a Keras backend, Faultline's metadata."""
    absent = [name for name in names if find_spec(name) is None]
    found = [f"missing: {', '.join(absent)}. Run: pip install -c constraints.txt {' '.join(absent)}"] if absent else []
    if not any(find_spec(module) for module in BACKENDS.values()):
        found.append("missing: a Keras backend. Run: pip install jax, or 'jax[cuda13]' for an NVIDIA GPU")
    if not entry_points(group="faultline.domains", name="powerline"):
        found.append("missing: Faultline's metadata. Run, in the checkout: pip install --no-deps -e .")
    return found


def one_line(backend: Backend) -> str:
    """Return the line that tells a backend and its devices."""
    if backend.reason:
        return f"Keras on {backend.name}: cannot be used: {backend.reason}"
    kind = "accelerator" if backend.accelerated else "no accelerator, only"
    return f"Keras on {backend.name} {backend.version}: {kind} {', '.join(backend.devices)}"


def without_accelerator() -> str:
    """Return what to do where no backend has an accelerator."""
    return (
        "No accelerator was found, so nothing was measured. Install a backend that supports this machine's GPU, for"
        " example: pip install 'jax[cuda13]' (NVIDIA), and try nvidia-smi. To run the command on the CPU, add --cpu."
    )


def _environment(backend: str, cpu: bool) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    own = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    if cpu:
        own |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    return os.environ | own


def _probed(name: str, cpu: bool) -> Backend:
    """Ask a process of its own, so that a backend that cannot be loaded ends only that process."""
    command = [sys.executable, "-m", "benchmarks.engine.gpu_process", "--devices"]
    done = subprocess.run(command, env=_environment(name, cpu), cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return Backend(name, reason=(done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Backend(name, found["version"], tuple(found["devices"]), found["accelerated"])


def _choose(cpu: bool) -> Backend | None:
    """Return the first backend with an accelerator, else the first one that can be used; None if there is none."""
    named = os.environ.get("KERAS_BACKEND")
    names = [named] if named else [name for name, module in BACKENDS.items() if find_spec(module)]
    found = []
    for name in names:
        backend = _probed(name, cpu)
        if backend.accelerated:
            return backend
        found.append(backend)
    for backend in found:
        if backend.reason:
            print(one_line(backend))
    return next((backend for backend in found if not backend.reason), None)


def _run_tests(environment: dict[str, str]) -> int:
    # Keras' own layers, with which the tests compare, shall not round to TensorFloat-32 either. The conftest.py of all
    # tests, which needs a broker, is left out; like it, Hypothesis' profile ci has no deadline.
    environment = environment | {"JAX_DEFAULT_MATMUL_PRECISION": "float32", "NVIDIA_TF32_OVERRIDE": "0"}
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--disable-warnings",
        "--confcutdir=tests/model",
        "--hypothesis-profile=ci",
    ]
    command = [sys.executable, "-m", "pytest", *options, "tests/model/engine"]
    return subprocess.run(command, env=environment, cwd=_ROOT, check=False).returncode


def main() -> int:
    """Run the command; return 0, 1 if a test failed, or 2 if something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine.gpu",
        description=__doc__,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cpu", action="store_true", help="use the CPU, also where there is an accelerator")
    parser.add_argument("--no-tests", action="store_true", help="only measure")
    parser.add_argument(
        "--batch", type=int, action="append", help=f"windows per call, may be repeated [default: {BATCHES}]"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each of three runs [default: 1]")
    parser.add_argument("--model", help="artefact of a model with a memory [default: the shipped one]")
    parser.add_argument("--out", help="write the figures as JSON to this file")
    options = parser.parse_args()
    absent = missing(NEEDED if options.no_tests else NEEDED + FOR_TESTS)
    backend = None if absent else _choose(options.cpu)
    if backend is None:
        print("\n".join(absent))
        return 2
    print(one_line(backend), flush=True)
    if not backend.accelerated and not options.cpu:
        print(without_accelerator())
        return 2
    environment = _environment(backend.name, options.cpu)
    tests = 0 if options.no_tests else _run_tests(environment)
    settings = {
        "batches": options.batch or BATCHES,
        "seconds": options.seconds,
        "model": options.model and str(Path(options.model).resolve()),
        "out": options.out and str(Path(options.out).resolve()),
    }
    command = [sys.executable, "-m", "benchmarks.engine.gpu_process", json.dumps(settings)]
    measured = subprocess.run(command, env=environment, cwd=_ROOT, check=False).returncode
    return 1 if tests or measured else 0


if __name__ == "__main__":
    sys.exit(main())
