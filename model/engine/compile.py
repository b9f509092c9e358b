"""Compile a function of arrays for one fixed shape. This is the only module that depends on the Keras backend."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

__all__ = [
    "Call",
    "DeviceCall",
    "compile_call",
    "compile_on_device",
    "compute_in_callers",
    "has_accelerator",
    "stage",
    "use_full_precision",
    "wants_stages",
]

Call = Callable[..., tuple[NDArray[np.float32], ...]]
"""Function of float32 arrays and, last, of the parameters; it returns float32 arrays."""
DeviceCall = Callable[..., tuple[Any, ...]]
"""Function from tensors of the backend to tensors of the backend."""

# XLA's flag for the vector width. By default XLA fills half of an AVX-512 register, and a GRU's gates take a fifth
# longer.
_WIDE_VECTORS = "xla_cpu_prefer_vector_width"
# An unknown flag makes XLA end the process, so the flag is set only for versions on which it was tried.
_KNOWN_TENSORFLOW = ("2.20.", "2.21.")
# Tracing runs Python code that changes the state of Keras, so one thread traces at a time; XLA compiles in parallel.
_tracing = threading.Lock()


def compile_call(
    function: Callable[..., tuple[Any, ...]], shapes: Sequence[tuple[int, ...]], parameters: tuple[int, ...]
) -> Call:
    """Compile ``function`` for float32 arrays of exactly ``shapes`` and run it once, so that the first call is fast.

    Args:
        function: maps float32 tensors to a tuple of tensors, without side effects; written in ``keras.ops``.
        shapes: shapes of all arguments but the last.
        parameters: shape of the last argument, which is a tensor of the backend
            (``keras.ops.convert_to_tensor``), so that it is not copied at every call.

    Returns:
        A thread-safe function from float32 arrays and parameters to float32 arrays.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        call = _for_tensorflow(function, shapes, parameters)
    elif backend == "jax":
        call = _for_jax(function)
    else:
        call = _for_torch(function)
    call(*(np.zeros(shape, np.float32) for shape in shapes), ops.ones(parameters, "float32"))
    return call


def _for_tensorflow(
    function: Callable[..., tuple[Any, ...]], shapes: Sequence[tuple[int, ...]], parameters: tuple[int, ...]
) -> Call:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32) for shape in (*shapes, parameters)]
    _ask_for_wide_vectors(tf.__version__)
    with _tracing:
        traced = tf.function(function, input_signature=signature, jit_compile=True, autograph=False)
        compiled = traced.get_concrete_function()

    def call(*arguments: Any) -> tuple[NDArray[np.float32], ...]:
        *arrays, parameters = arguments
        results = compiled(*(tf.constant(array) for array in arrays), parameters)
        return tuple(result.numpy() for result in results)

    return call


def _ask_for_wide_vectors(version: str) -> None:
    """Set XLA's flag for wide vectors unless the user has set it. It must precede the first compilation."""
    flags = os.environ.get("XLA_FLAGS", "")
    if version.startswith(_KNOWN_TENSORFLOW) and _WIDE_VECTORS not in flags and _has_avx512():
        os.environ["XLA_FLAGS"] = f"{flags} --{_WIDE_VECTORS}=512".strip()


def _has_avx512() -> bool:
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _for_jax(function: Callable[..., tuple[Any, ...]]) -> Call:
    import jax

    compiled = jax.jit(function)

    def call(*arguments: Any) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.asarray(result) for result in compiled(*arguments))

    return call


def _for_torch(function: Callable[..., tuple[Any, ...]]) -> Call:
    import torch

    def call(*arguments: Any) -> tuple[NDArray[np.float32], ...]:
        *arrays, parameters = arguments
        with torch.inference_mode():
            results = function(*(ops.convert_to_tensor(array) for array in arrays), parameters)
            return tuple(ops.convert_to_numpy(result) for result in results)

    return call


def compile_on_device(function: DeviceCall, arguments: Sequence[tuple[tuple[int, ...], str]]) -> DeviceCall:
    """Compile ``function`` for tensors of exactly these shapes and types; nothing is copied from or to the device.

    Args:
        function: as for ``compile_call``.
        arguments: shape and type of every argument.

    Returns:
        A thread-safe function from tensors of the backend to tensors of the backend. On a GPU it may return before the
        results are computed; converting one of them to an array waits for it.
    """
    backend = keras.backend.backend()
    call: DeviceCall
    if backend == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, dtype) for shape, dtype in arguments]
        with _tracing:
            traced = tf.function(function, input_signature=signature, jit_compile=True, autograph=False)
            call = traced.get_concrete_function()
    elif backend == "jax":
        import jax

        call = jax.jit(function)
    else:
        import torch

        call = torch.inference_mode()(function)
    call(*(ops.zeros(shape, dtype) for shape, dtype in arguments))
    return call


def use_full_precision() -> None:
    """Make the backend multiply float32 matrices in float32, in the whole process.

    By default NVIDIA GPUs since Ampere round the factors to 11 binary digits (TensorFloat-32), and TPUs to 8
    (bfloat16). The answers of the engine would then differ from those of a CPU, and with the way a batch is cut, by far
    more than the rounding that ``Engine`` promises.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "float32")
    else:
        import torch

        torch.set_float32_matmul_precision("highest")


def has_accelerator() -> bool:
    """Return True if the backend computes on a GPU or TPU."""
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
    """Make the backend compute every call in the calling thread, because the engine has a caller for every core.

    XLA splits every operation into as many parts as TensorFlow has threads, and in a GRU the parts wait for one another
    in every time step: with two threads for two callers, one window of a GRU took 12.5 µs of a core; with one thread,
    9.1 µs. The setting must precede the backend's first computation and applies to the whole process. NumPy's matrix
    products are set likewise, at any time.

    Returns:
        True if the backend's setting is in force. If it is not, the results are the same and throughput is lower.
    """
    threadpool_limits(1, "blas")
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        return bool(tf.config.threading.get_intra_op_parallelism_threads() == 1)
    return True


def wants_stages() -> bool:
    """Return True if a large function must be divided by ``stage`` to be computed in its caller's thread.

    Code that XLA compiles for a CPU passes independent operations to TensorFlow's threads unless there are few of them.
    The engine leaves TensorFlow one thread, so its callers would be served one after the other.
    """
    return keras.backend.backend() == "tensorflow" and not has_accelerator()


def stage(compute: Callable[[], Any], shape: tuple[int, ...], positive: Any) -> Any:
    """Return the result of ``compute``, a tensor of ``shape``, computed as a small function of its own.

    ``positive`` is a scalar that is always positive. The compiler cannot know that, and compiles the branch of a
    condition as a separate function.
    """
    return ops.cond(positive > 0, compute, lambda: ops.zeros(shape, "float32"))
