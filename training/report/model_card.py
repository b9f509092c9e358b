"""Describe a network, its branches and its training, and identify its artefact and this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model.architectures import ARCHITECTURES, build
from model.artefact import Artefact, build_model
from model.errors import ShapeArtefactError
from model.memory import memory_units
from training.report.data import Alternative, History, Identity, Layer, Network, Training
from training.versions import tensorflow_distribution, version_of

# Layers without weights that only rearrange or normalise the input; the description of the network omits them.
_LAYOUT = ("InputLayer", "Condition", "Permute")


def describe_network(artefact: Artefact) -> Network:
    """Return layers, sizes and parameter counts, and the parameter counts of the other architectures for the spec."""
    spec = artefact.manifest.spec
    model = build_model(artefact)
    seen = [layer for layer in model.layers if type(layer).__name__ not in _LAYOUT]
    layers = tuple(
        Layer(
            name=layer.name,
            type=type(layer).__name__,
            named=_named(layer),
            output_shape=str(tuple(layer.output.shape)),
            parameters=int(layer.count_params()),
            connected_to=tuple(_sources(layer)),
        )
        for layer in seen
    )
    trainable = sum(int(weight.value.shape.num_elements()) for weight in model.trainable_weights)
    in_time = spec.sequence == "time" or artefact.manifest.memory_units > 0
    steps, values = spec.window_shape if in_time else spec.window_shape[::-1]
    return Network(
        architecture=artefact.manifest.architecture,
        structure=structure(layers),
        steps=steps,
        values_per_step=values,
        hop=spec.hop,
        layers=layers,
        distribution=dict(Counter(type(layer).__name__ for layer in seen)),
        parameters=int(model.count_params()),
        trainable=trainable,
        memory_bytes=4 * int(model.count_params()),
        alternatives=tuple(_alternatives(artefact)),
    )


def _sources(layer: Any) -> Iterator[str]:
    """Yield the names of the layers that ``layer`` reads, skipping those of ``_LAYOUT``; none for the window."""
    for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
        source = tensor._keras_history.operation
        if type(source).__name__ not in _LAYOUT:
            yield source.name
        elif type(source).__name__ != "InputLayer":
            yield from _sources(source)


def _named(layer: Any) -> str:
    size = getattr(layer, "units", None) or getattr(layer, "filters", None) or getattr(layer, "rate", None)
    kind = type(layer).__name__
    return kind if size is None else f"{kind}({size})"


def _alternatives(artefact: Artefact) -> list[Alternative]:
    manifest, found = artefact.manifest, []
    for name in ARCHITECTURES:
        if memory_units(name) and not manifest.memory_units:
            continue  # needs successive windows of a line
        try:
            parameters = int(build(name, manifest.spec, manifest.normalisation).count_params())
        except ShapeArtefactError:  # needs a longer sequence than the spec has
            continue
        found.append(Alternative(architecture=name, parameters=parameters))
    return found


def describe_training(artefact: Artefact) -> Training:
    """Return the manifest's record of the training, which `instant` holds by split."""
    metrics: dict[str, Any] = dict(artefact.manifest.metrics)
    split = metrics.get("split")
    scores: dict[str, Any] = metrics.get(split, {}) if isinstance(split, str) else metrics
    training, kept = scores.get("training") or {}, scores.get("history")
    history = None if kept is None else History.model_validate(kept)
    best = None if history is None else history.best_epoch - 1
    provenance: dict[str, Any] = dict(artefact.manifest.provenance)
    # Older artefacts have the seconds directly in the provenance.
    seconds = (provenance.get("run") or provenance).get("training_seconds")
    return Training(
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        epochs=None if history is None else len(history.loss),
        accuracy=training.get("accuracy"),
        val_accuracy=(scores.get("validation") or {}).get("accuracy"),
        loss=training.get("loss"),
        val_loss=None if history is None or best is None else history.val_loss[best],
        history=history,
    )


def identify(artefact: Artefact, evaluation_seed: int) -> Identity:
    """Return hashes, versions, seeds, and the machine on which the evaluation runs."""
    manifest, data = artefact.manifest, artefact.to_bytes()
    provenance: dict[str, Any] = dict(manifest.provenance)
    seed = provenance.get("seed")
    packages = (tensorflow_distribution(), "keras", "numpy", "scipy", "faultline")
    return Identity(
        model_id=artefact.model_id,
        spec=manifest.spec.name,
        spec_digest=manifest.spec.digest,
        weights_sha256=manifest.weights_sha256,
        artefact_sha256=hashlib.sha256(data).hexdigest(),
        artefact_bytes=len(data),
        command=str(provenance.get("command", "not recorded")),
        seed=seed if isinstance(seed, int) else None,
        trained_on=str(provenance.get("platform", "not recorded")),
        trained_with={name: str(value) for name, value in (provenance.get("versions") or {}).items()},
        evaluated_with={"python": platform.python_version(), **{name: version_of(name) for name in packages}},
        evaluation_seed=evaluation_seed,
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory_gib(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return 0.0


# Branches of layers: chains in which each layer reads the one before, and the chains that join them. -----------------

Chain = list[Layer]


def chains(layers: Sequence[Layer]) -> tuple[list[Chain], list[Chain]]:
    """Return the chains that read the window, and those that join others.

    Args:
        layers: the layers, each after those that it reads.
    """
    found: list[Chain] = []
    for layer in layers:
        before = [chain for chain in found if (chain[-1].name,) == layer.connected_to]
        if before:
            before[0].append(layer)
        else:
            found.append([layer])
    return [c for c in found if not c[0].connected_to], [c for c in found if c[0].connected_to]


def structure(layers: Sequence[Layer]) -> str:
    """Return the layers with their sizes as text: chains that read the window, then those that join them."""
    reading, joining = ([" → ".join(layer.named for layer in chain) for chain in part] for part in chains(layers))
    return "; joined: ".join([" beside ".join(reading), *joining])


def is_branched(layers: Sequence[Layer]) -> bool:
    """Return True if the layers form more than one chain, so that a table of them must show the connections."""
    reading, joining = chains(layers)
    return len(reading) + len(joining) > 1


def parameters(chain: Sequence[Layer]) -> int:
    """Return the total number of parameters of a chain's layers."""
    return sum(layer.parameters for layer in chain)
