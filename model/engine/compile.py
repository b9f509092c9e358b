"""The one place where a Keras backend is named: compiling a function of arrays for one fixed shape."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

__all__ = ["Call", "compile_call", "compute_in_callers", "has_accelerator", "stage", "wants_stages"]

Call = Callable[[NDArray[np.float32], Any], NDArray[np.float32]]

# XLA fills half a register of an AVX-512 core unless told otherwise; a GRU's gates take a fifth longer then.
_WIDE_VECTORS = "xla_cpu_prefer_vector_width"
# A flag that XLA does not know ends the process, so it is told only where this was tried.
_KNOWN_TENSORFLOW = ("2.20.", "2.21.")
# Tracing is Python and touches the state of Keras; what follows is XLA's, and is done side by side.
_tracing = threading.Lock()


def compile_call(function: Callable[[Any, Any], Any], shape: tuple[int, ...], parameters: tuple[int, ...]) -> Call:
    """A compiled ``function`` for float32 arrays of exactly ``shape``, run once so that the first call is fast.

    Args:
        function: written in ``keras.ops``, from two float32 tensors to one, without side effects.
        shape: of every array it will be given first.
        parameters: shape of the second, which is a tensor of the backend (``keras.ops.convert_to_tensor``) so that
            it need not be copied at every call.

    Returns:
        A thread-safe function from float32 array and parameters to float32 array.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        call = _for_tensorflow(function, shape, parameters)
    elif backend == "jax":
        call = _for_jax(function)
    else:
        call = _for_torch(function)
    call(np.zeros(shape, np.float32), ops.ones(parameters, "float32"))
    return call


def _for_tensorflow(function: Callable[[Any, Any], Any], shape: tuple[int, ...], parameters: tuple[int, ...]) -> Call:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(parameters, tf.float32)]
    _ask_for_wide_vectors(tf.__version__)
    with _tracing:
        traced = tf.function(function, input_signature=signature, jit_compile=True, autograph=False)
        compiled = traced.get_concrete_function()

    def call(windows: NDArray[np.float32], parameters: Any) -> NDArray[np.float32]:
        result: NDArray[np.float32] = compiled(tf.constant(windows), parameters).numpy()
        return result

    return call


def _ask_for_wide_vectors(version: str) -> None:
    """Holds from the first function that XLA compiles in this process. What a user has set stays."""
    flags = os.environ.get("XLA_FLAGS", "")
    if version.startswith(_KNOWN_TENSORFLOW) and _WIDE_VECTORS not in flags and _has_avx512():
        os.environ["XLA_FLAGS"] = f"{flags} --{_WIDE_VECTORS}=512".strip()


def _has_avx512() -> bool:
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _for_jax(function: Callable[[Any, Any], Any]) -> Call:
    import jax

    compiled = jax.jit(function)

    def call(windows: NDArray[np.float32], parameters: Any) -> NDArray[np.float32]:
        return np.asarray(compiled(windows, parameters))

    return call


def _for_torch(function: Callable[[Any, Any], Any]) -> Call:
    import torch

    def call(windows: NDArray[np.float32], parameters: Any) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer = function(ops.convert_to_tensor(windows), parameters)
            result: NDArray[np.float32] = ops.convert_to_numpy(answer)
        return result

    return call


def has_accelerator() -> bool:
    """Whether the backend computes on a GPU or TPU."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    import torch

    return bool(torch.cuda.is_available())


def compute_in_callers() -> bool:
    """Ask the backend to compute a call in the thread that makes it, because the engine has a caller for every core.

    XLA cuts every operation into as many parts as TensorFlow has threads, and in a GRU parts wait for one another in
    every time step: with two threads for two callers a window of a GRU alone took a core 12.5 µs, with one 9.1.
    Has to come before the backend has computed anything in this process, and holds for all of the process.
    Returns whether it could still be set; where not, answers are the same and throughput is lower.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        return bool(tf.config.threading.get_intra_op_parallelism_threads() == 1)
    return True


def wants_stages() -> bool:
    """Whether a large function has to be made of ``stage`` upon ``stage`` to be computed in its caller's thread.

    What XLA compiles for a CPU hands operations that do not wait for each other to TensorFlow's threads, of which there
    is one, unless they are few: callers would be served one after the other.
    """
    return keras.backend.backend() == "tensorflow" and not has_accelerator()


def stage(compute: Callable[[], Any], shape: tuple[int, ...], positive: Any) -> Any:
    """What ``compute`` returns, a tensor of ``shape``, as a function of its own for the compiler, with few operations.

    ``positive`` is a scalar that always is, which the compiler does not know: it keeps what depends on a condition
    apart from all else.
    """
    return ops.cond(positive > 0, compute, lambda: ops.zeros(shape, "float32"))
