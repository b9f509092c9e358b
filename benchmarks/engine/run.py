"""Measure the whole engine table for both models; return tables for a person, and JSON with versions and machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.engine.contenders import ARRANGEMENTS, BOUND, OURS
from benchmarks.engine.table import engine_table, measure, without_phasors
from benchmarks.harness.machine import machine, versions
from benchmarks.harness.windows import sample_windows
from model.artefact import Artefact, shipped
from model.errors import EngineError

__all__ = ["run"]

_OTHERS = tuple(name for name in ARRANGEMENTS if name not in (OURS, BOUND))


def run(
    artefact: str | None,
    only: tuple[str, ...],
    batches: tuple[int, ...],
    turns: int,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[str, list[Table]]:
    """Measure the model, and the same network without phasors.

    Args:
        artefact: path of the model; the shipped one if None.
        only: contenders in addition to our engine and the bound; all if empty.
        batches: numbers of windows per call.
        turns: runs of every contender for every batch.
        seconds: duration of one run.
        say: called with a description of the current step.

    Returns:
        The JSON document, and a table for each model.

    Raises:
        EngineError: a contender is unknown, or its probabilities differ from ours.
        ArtefactError: the artefact cannot be read.
    """
    for name in only:
        if name not in _OTHERS:
            raise EngineError(f"unknown contender {name!r}; choose from {', '.join(_OTHERS)}")
    used = shipped("line") if artefact is None else Artefact.load(Path(artefact))
    spec = used.manifest.spec
    lifelike = sample_windows(spec).lifelike
    windows = np.resize(lifelike, (max(batches), *spec.window_shape))
    models = {"network without phasors": without_phasors(used)}
    if used.manifest.normalisation.feature_layer == "phasors":
        models["network with phasors"] = used
    before = machine()
    found = [
        measure(
            name, model, windows, contenders=only or _OTHERS, batches=batches, turns=turns, seconds=seconds, say=say
        )
        for name, model in models.items()
    ]
    packages = {name: version(name) for name in ("onnx", "onnxruntime", "openvino")}
    document = {
        "machine": before,
        "versions": versions() | packages,
        "settings": {"artefact": used.model_id, "turns": turns, "seconds": seconds},
        "models": [one.as_dict() for one in found],
    }
    return json.dumps(document, indent=2), [engine_table(one) for one in found]
