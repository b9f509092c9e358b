"""Export the network as an ONNX graph in the form that is fastest in ONNX runtimes: their own GRU, whole batches.

Keras' exporter converts a GRU to a loop of small operators. A fair comparison needs ONNX's own GRU operator. A memory
is an input of the graph, since a runtime could leave out the products with a constant one.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from domains.powerline import phasors
from model.architectures import MEMORY_ARCHITECTURE
from model.artefact import Artefact
from model.errors import EngineError

__all__ = ["GRU", "onnx_model"]

GRU = "memory_gru/gru_cell"
"""Path of the recurrent weights in an artefact."""
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
    """Return a serialised ONNX model of one window of each of n lines.

    Its inputs are "windows" float32 (n, samples, channels) and "memory" (n, units); its output is "probabilities"
    (n, classes).

    Raises:
        EngineError: the architecture is not "gru-memory".
    """
    manifest = artefact.manifest
    if manifest.architecture != MEMORY_ARCHITECTURE:
        raise EngineError("the engine table supports only networks with a memory: use e.g. the shipped model 'line'")
    graph = _Graph()
    flow = _newest(graph, artefact)
    if manifest.normalisation.feature_layer == "phasors":
        flow = graph.add("Concat", flow, _phasors(graph, manifest.spec.samples), axis=1)
    for name in ("window_1", "window_2"):
        flow = graph.dense(flow, _layer(artefact, name))
    flow = graph.dense(graph.add("Concat", _gru(graph, artefact, flow), flow, axis=1), _layer(artefact, "head"))
    kernel, bias = _layer(artefact, "logits")
    # The temperature divides the logits, so divide the last layer's weights by it.
    logits = graph.dense(flow, (kernel / manifest.temperature, bias / manifest.temperature), relu=False)
    graph.nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=1))
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", *manifest.spec.window_shape])
    classes = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(manifest.spec.classes)])
    memory = helper.make_tensor_value_info("memory", TensorProto.FLOAT, ["n", manifest.memory_units])
    made = helper.make_graph(graph.nodes, "line", [windows, memory], [classes], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _layer(artefact: Artefact, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return artefact.weights[f"{name}/kernel"], artefact.weights[f"{name}/bias"]


def _newest(graph: _Graph, artefact: Artefact) -> str:
    """Add the operators of the normalised samples that are new in each window, or of all without a feature layer."""
    normalisation, spec = artefact.manifest.normalisation, artefact.manifest.spec
    gain = graph.constant(1 / np.asarray(normalisation.scale))
    centred = "windows"
    if any(normalisation.centre):
        centred = graph.add("Sub", centred, graph.constant(normalisation.centre))
    scaled = graph.add("Mul", centred, gain)
    if normalisation.kind == "asinh":
        scaled = graph.add("Asinh", scaled)
    new = spec.samples if normalisation.feature_layer is None else min(spec.hop, spec.samples)
    newest = graph.columns(scaled, spec.samples - new, spec.samples)
    return graph.add("Reshape", newest, graph.constant([-1, new * len(spec.channels)], np.int64))


def _gru(graph: _Graph, artefact: Artefact, flow: str) -> str:
    kernel, recurrent, bias = (artefact.weights[f"{GRU}/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    first = graph.constant([0], np.int64)
    # Keras and ONNX both order the gates z, r, h; ONNX stores the matrices transposed and both biases in one row.
    state = graph.add(
        "GRU",
        graph.add("Unsqueeze", flow, first),
        graph.constant(kernel.T[None]),
        graph.constant(recurrent.T[None]),
        graph.constant(bias.reshape(1, -1)),
        "",
        graph.add("Unsqueeze", "memory", first),
        outputs=2,
        hidden_size=recurrent.shape[0],
        linear_before_reset=1,
    )
    return graph.add("Squeeze", state, first)


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

    def reference(part: str, positive: int) -> str:
        return add(
            "Add",
            columns(part, positive, positive + 1),
            add("Mul", columns(part, positive + 1, positive + 2), negative),
        )

    share = add("Div", constant(phasors.CURRENT_PART), common)
    along, across = (add("Add", reference(part, 9), add("Mul", reference(part, 3), share)) for part in (re, im))
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
