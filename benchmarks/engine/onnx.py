"""Export the network as an ONNX graph in the form that is fastest in ONNX runtimes: their own GRU, whole batches.

Keras' exporter converts a GRU to a loop of small operators. A fair comparison needs ONNX's own GRU operator.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from domains.powerline import phasors
from model.artefact import Artefact
from model.errors import EngineError

__all__ = ["onnx_model"]

_OPSET = 17


class _Graph:
    """Operators in the order of their creation, and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: object, kind: type[np.generic] = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **options: object) -> str:
        """Add an operator, and return the name of its last output; earlier outputs get no name."""
        name = f"n{len(self.nodes)}"
        names = [""] * (outputs - 1) + [name]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **options))
        return name

    def columns(self, source: str, first: int, last: int, axis: int = 1) -> str:
        bounds = (self.constant([at], np.int64) for at in (first, last, axis))
        return self.add("Slice", source, *bounds)

    def dense(self, source: str, weights: tuple[NDArray[np.float32], NDArray[np.float32]], relu: bool = True) -> str:
        kernel, bias = weights
        found = self.add("Gemm", source, self.constant(kernel), self.constant(bias))
        return self.add("Relu", found) if relu else found


def onnx_model(artefact: Artefact) -> bytes:
    """Return a serialised ONNX model from "windows" float32 (n, samples, channels) to "probabilities" (n, classes).

    Raises:
        EngineError: the architecture is not "gru" over the samples of a window.
    """
    manifest = artefact.manifest
    if manifest.architecture != "gru" or manifest.spec.sequence == "channels":
        raise EngineError(
            "the engine table supports only GRUs over the samples of a window: use e.g. the shipped model 'line'"
        )
    graph = _Graph()
    flow = graph.dense(_gru(graph, artefact), _layer(artefact, "hidden"))
    if manifest.normalisation.feature_layer == "phasors":
        measured = _phasors(graph, manifest.spec.samples)
        for name in sorted(name for name in artefact.weights if name.startswith("measured_") and "kernel" in name):
            measured = graph.dense(measured, _layer(artefact, name.removesuffix("/kernel")))
        flow = graph.dense(graph.add("Concat", flow, measured, axis=1), _layer(artefact, "merged"))
    kernel, bias = _layer(artefact, "logits")
    # The temperature divides the logits, so divide the last layer's weights by it.
    logits = graph.dense(flow, (kernel / manifest.temperature, bias / manifest.temperature), relu=False)
    graph.nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=1))
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", *manifest.spec.window_shape])
    classes = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(manifest.spec.classes)])
    made = helper.make_graph(graph.nodes, "line", [windows], [classes], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _layer(artefact: Artefact, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return artefact.weights[f"{name}/kernel"], artefact.weights[f"{name}/bias"]


def _gru(graph: _Graph, artefact: Artefact) -> str:
    normalisation = artefact.manifest.normalisation
    gain = graph.constant(1 / np.asarray(normalisation.scale))
    centred = "windows"
    if any(normalisation.centre):
        centred = graph.add("Sub", centred, graph.constant(normalisation.centre))
    scaled = graph.add("Mul", centred, gain)
    if normalisation.kind == "asinh":
        scaled = graph.add("Asinh", scaled)
    kernel, recurrent, bias = (
        artefact.weights[f"gru/gru_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    # Keras and ONNX both order the gates z, r, h; ONNX stores the matrices transposed and both biases in one row.
    state = graph.add(
        "GRU",
        graph.add("Transpose", scaled, perm=[1, 0, 2]),
        graph.constant(kernel.T[None]),
        graph.constant(recurrent.T[None]),
        graph.constant(bias.reshape(1, -1)),
        outputs=2,
        hidden_size=recurrent.shape[0],
        linear_before_reset=1,
    )
    return graph.add("Squeeze", state, graph.constant([0], np.int64))


def _phasors(graph: _Graph, samples: int) -> str:
    """Add the operators of ``domains.powerline.phasors.Phasors``, and return the name of their output."""
    add, constant, columns = graph.add, graph.constant, graph.columns
    least = constant(phasors.LEAST_POWER)

    def square(source: str) -> str:
        return add("Mul", source, source)

    def root(source: str) -> str:
        return add("Sqrt", source)

    def mean(source: str, *axes: int) -> str:
        return add("ReduceMean", source, axes=list(axes), keepdims=0)

    flat = add("Reshape", "windows", constant([-1, samples * 6], np.int64))
    linear = add("MatMul", flat, constant(phasors.waves(samples)))
    re, im, means = (columns(linear, *bounds) for bounds in ((0, 18), (18, 36), (36, 42)))
    power = add("Add", add("Add", square(re), square(im)), least)
    common = add("ReduceMean", columns(power, 0, 3), axes=[1], keepdims=1)
    common = add("Add", root(common), constant(phasors.LEAST_CURRENT))

    negative = constant(phasors.NEGATIVE_PART)
    along, across = (add("Add", columns(part, 9, 10), add("Mul", columns(part, 10, 11), negative)) for part in (re, im))
    size = root(add("Add", add("Add", square(along), square(across)), least))
    size = add("Add", size, constant(phasors.LEAST_VOLTAGE))
    along, across = add("Div", along, size), add("Neg", add("Div", across, size))
    turned_re = add("Sub", add("Mul", re, along), add("Mul", im, across))
    turned_im = add("Add", add("Mul", re, across), add("Mul", im, along))

    fundamental = add("Concat", columns(power, 0, 3), columns(power, 6, 9), axis=1)
    half_power = add("Mul", add("Add", fundamental, columns(power, 12, 18)), constant(0.5))
    rest = add("Sub", mean(square("windows"), 1), add("Add", square(means), half_power))
    remainder = root(add("Max", rest, least))

    halves = (columns("windows", *bounds) for bounds in ((0, samples // 2), (samples // 2, samples)))
    change = add("Add", *(columns(half, 0, 3, axis=2) for half in halves))
    twice = add("Mul", add("Unsqueeze", columns(means, 0, 3), constant([1], np.int64)), constant(2.0))
    change = add("Add", mean(square(add("Sub", change, twice)), 1, 2), least)
    inequality = add("Unsqueeze", root(change), constant([1], np.int64))

    measured = add("Concat", turned_re, turned_im, root(power), means, remainder, inequality, axis=1)
    relative = add("Where", constant(phasors.RELATIVE, np.bool_), add("Reciprocal", common), constant(1.0))
    selected = add("MatMul", add("Mul", measured, relative), constant(phasors.SELECTION))
    return add("Where", constant(np.isinf(phasors.KNEES), np.bool_), selected, add("Asinh", selected))
