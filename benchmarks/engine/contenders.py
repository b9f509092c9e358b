"""The contenders of the engine table: our engine and other runtimes, each configured to be fast.

Each contender has several arrangements of threads, calls and shapes, since the fastest one depends on the batch. The
table uses each contender's fastest arrangement for a batch. A batch has one window of each of as many lines, which
begin cold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from model.artefact import Artefact

__all__ = ["ARRANGEMENTS", "BOUND", "OURS", "TITLES", "Arrangement", "Classify"]

OURS, BOUND = "faultline", "bound"
TITLES = {
    OURS: "Faultline's engine",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "keras": "keras predict",
    BOUND: "bound: matrix products",
}

Array = NDArray[np.float32]
Classify = Callable[[Array], Array]
# Description of the settings, and the factory of the function for batches of one size.
Arrangement = tuple[str, Callable[[int], Classify]]

# Windows per call in arrangements that divide each core's share, so that arrays stay in the core's cache.
_PIECE = 256
# Smallest number of windows for one core.
_SMALLEST_SHARE = 16


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _for_any_batch(classify: Classify, _: int) -> Classify:
    return classify


def _divided_over_cores(
    call_of: Callable[[int, int], Classify], cores: int, largest: int | None
) -> Callable[[int], Classify]:
    """Divide a batch into equal pieces, with one caller per core and its own function (``call_of(core, size)``)."""

    def prepare(count: int) -> Classify:
        callers = min(cores, max(1, count // _SMALLEST_SHARE))
        size = -(-count // callers) if largest is None else min(largest, -(-count // callers))
        starts = range(0, count, size)
        calls = [[call_of(core, min(size, count - at)) for at in starts[core::callers]] for core in range(callers)]
        if callers == 1 and len(starts) == 1:
            return calls[0][0]
        pool = ThreadPoolExecutor(callers)

        def mine(core: int, windows: Array) -> list[Array]:
            return [call(windows[at : at + size]) for call, at in zip(calls[core], starts[core::callers], strict=True)]

        def classify(windows: Array) -> Array:
            answer: list[Array] = [windows] * len(starts)
            for core, found in enumerate(pool.map(mine, range(callers), [windows] * callers)):
                answer[core::callers] = found
            return np.concatenate(answer)

        return classify

    return prepare


def _faultline(artefact: Artefact) -> Iterator[Arrangement]:
    from model.engine import Engine

    engine = Engine(artefact).warm()
    yield "as a worker uses it", partial(_for_any_batch, engine.classify)


def _keras(artefact: Artefact) -> Iterator[Arrangement]:
    import keras
    from keras import layers, ops

    from model.artefact import build_model

    network, units = build_model(artefact), artefact.manifest.memory_units
    logits, _ = network.outputs
    calibrated = layers.Lambda(lambda logits: ops.softmax(logits[:, 0] / artefact.manifest.temperature))(logits)
    model = keras.Model(network.inputs, calibrated)

    def predict(size: int) -> Classify:
        return lambda windows: model.predict(
            [windows[:, None], np.zeros((len(windows), units), np.float32)], batch_size=size, verbose=0
        )

    for size in (32, 256, 1024):
        yield f"batch_size={size}", partial(_for_any_batch, predict(size))


def _onnxruntime(artefact: Artefact) -> Iterator[Arrangement]:
    import onnxruntime

    from benchmarks.engine.onnx import onnx_model

    serialised, units = onnx_model(artefact), artefact.manifest.memory_units

    def session(threads: int) -> Classify:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        made = onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])

        def call(windows: Array) -> Array:
            found: Array = made.run(None, {"windows": windows, "memory": np.zeros((len(windows), units), np.float32)})[
                0
            ]
            return found

        return call

    cores = _cores()
    whole, single = session(cores), [session(1) for _ in range(cores)]
    yield f"one call with {cores} threads", partial(_for_any_batch, whole)
    yield "one call per core", _divided_over_cores(lambda core, _: single[core], cores, None)
    yield (
        f"calls of {_PIECE} windows, one caller per core",
        _divided_over_cores(lambda core, _: single[core], cores, _PIECE),
    )


def _openvino(artefact: Artefact) -> Iterator[Arrangement]:
    import openvino

    from benchmarks.engine.onnx import onnx_model

    core, serialised, units = openvino.Core(), onnx_model(artefact), artefact.manifest.memory_units
    compiled: dict[tuple[int, str], Any] = {}

    def request(size: int, hint: str, streams: int, threads: int) -> Classify:
        if (size, hint) not in compiled:
            model = core.read_model(serialised, b"")
            model.reshape({"windows": [size, *artefact.manifest.spec.window_shape], "memory": [size, units]})
            # Without f32, OpenVINO may use bfloat16 if the processor supports it.
            options = {
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": hint,
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads,
            }
            compiled[size, hint] = core.compile_model(model, "CPU", options)
        made, memory = compiled[size, hint].create_infer_request(), np.zeros((size, units), np.float32)

        def call(windows: Array) -> Array:
            found: Array = made.infer([windows, memory], share_inputs=True)[0]
            return found

        return call

    cores = _cores()
    yield f"LATENCY, one call with {cores} threads", lambda count: request(count, "LATENCY", 1, cores)

    def stream(_: int, size: int) -> Classify:
        return request(size, "THROUGHPUT", cores, cores)

    yield "THROUGHPUT, one stream per core", _divided_over_cores(stream, cores, None)
    yield f"THROUGHPUT, one stream per core, calls of {_PIECE} windows", _divided_over_cores(stream, cores, _PIECE)


def _bound(artefact: Artefact) -> Iterator[Arrangement]:
    """Compute only the network's products with its weights, without phasors, activations, gates and transfers."""
    from keras import ops
    from threadpoolctl import threadpool_limits

    from benchmarks.engine.onnx import GRU
    from model.engine.compile import compile_call, compute_in_callers

    compute_in_callers()
    threadpool_limits(1, "blas")
    names = ("window_1/kernel", "window_2/kernel", f"{GRU}/kernel", f"{GRU}/recurrent_kernel", "head/kernel")
    kernels = [artefact.weights[name] for name in (*names, "logits/kernel")]
    widths = [kernel.shape[0] for kernel in kernels]

    def numpy_products(_: int, size: int) -> Classify:
        inputs = [np.ones((size, width), np.float32) for width in widths]
        products = [np.empty((size, kernel.shape[1]), np.float32) for kernel in kernels]

        def call(windows: Array) -> Array:
            for values, kernel, product in zip(inputs, kernels, products, strict=True):
                np.dot(values, kernel, out=product)
            return products[-1]

        return call

    weights = ops.convert_to_tensor(np.concatenate([kernel.ravel() for kernel in kernels]))
    starts = np.cumsum([0, *(kernel.size for kernel in kernels)]).tolist()

    def xla_products(_: int, size: int) -> Classify:
        def products(windows: Any, parameters: Any) -> tuple[Any]:
            flat = ops.reshape(windows, (size, -1))
            total = 0.0
            for start, kernel in zip(starts, kernels, strict=False):
                matrix = ops.reshape(parameters[start : start + kernel.size], kernel.shape)
                # The sums keep the compiler from leaving a product out.
                total += ops.sum(ops.matmul(flat[:, : kernel.shape[0]], matrix), axis=1, keepdims=True)
            return (total,)

        compiled = compile_call(products, [(size, max(widths))], weights.shape)
        values = np.ones((size, max(widths)), np.float32)
        return lambda windows: compiled(values, weights)[0]

    cores = _cores()
    for largest in (None, _PIECE):
        blocks = "whole shares" if largest is None else f"blocks of {largest} windows"
        yield f"NumPy's BLAS, one caller per core, {blocks}", _divided_over_cores(numpy_products, cores, largest)
        yield f"XLA, one caller per core, {blocks}", _divided_over_cores(xla_products, cores, largest)


ARRANGEMENTS: dict[str, Callable[[Artefact], Iterator[Arrangement]]] = {
    OURS: _faultline,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "keras": _keras,
    BOUND: _bound,
}
