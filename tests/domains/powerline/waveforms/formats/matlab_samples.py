"""Variables that people and Simulink save in MATLAB files, as dictionaries for scipy's writer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.domains.powerline.waveforms.record_samples import Shape, load_waves

SHAPE = Shape(segments=((4800.0, 480),))
T = SHAPE.times()
WAVES = load_waves(SHAPE)
NAMES = ("ia", "ib", "ic", "va", "vb", "vc")
COLUMNS = {name: WAVES[:, k] for k, name in enumerate(NAMES)}
CELL_NAMES = np.array(NAMES, dtype=object)


def simulink(times: Any, values: Any, label: Any) -> dict[str, Any]:
    return {"time": times, "signals": {"values": values, "dimensions": 3, "label": label}, "blockName": "model/Scope"}


SIGNALS = np.zeros((2,), dtype=[("values", object), ("dimensions", object), ("label", object)])
SIGNALS[0] = (WAVES[:, :3], 3, "Iabc")
SIGNALS[1] = (WAVES[:, 3:], 3, "Vabc")

UNLABELLED = np.zeros((2,), dtype=SIGNALS.dtype)
UNLABELLED[0] = (WAVES[:, :3], 3, "")
UNLABELLED[1] = (WAVES[:, 3:], 3, "")

VARIABLES: dict[str, dict[str, Any]] = {
    "vectors": {"t": T, **COLUMNS},
    "rows": {"Time": T[None, :], **{name: values[None, :] for name, values in COLUMNS.items()}},
    "matrices": {"tout": T, "Iabc": WAVES[:, :3], "Vabc": WAVES[:, 3:]},
    "matrices across": {"tout": T[None, :], "Iabc": WAVES[:, :3].T, "Vabc": WAVES[:, 3:].T},
    "struct": {"data": {"t": T, **COLUMNS}},
    "struct in struct": {"rec": {"line1": {"time": T, **COLUMNS}, "note": "fault of 2 January"}},
    "rate": {"fs": 4800.0, **COLUMNS},
    "step": {"Ts": 1 / 4800, "data": COLUMNS},
    "rate beside structs": {"Fs": 4800, "currents": {n: COLUMNS[n] for n in NAMES[:3]}, "voltages": WAVES[:, 3:]},
    "simulink": {"Iabc": simulink(T, WAVES[:, :3], "Iabc"), "Vabc": simulink(T, WAVES[:, 3:], "Vabc")},
    "simulink scope": {"ScopeData": {"time": T, "signals": SIGNALS, "blockName": "model/Scope"}},
    "time in the first column": {
        "Iabc": np.column_stack([T, WAVES[:, :3]]),
        "Vabc": np.column_stack([T, WAVES[:, 3:]]),
    },
    "to file": {"ans": np.vstack([T, WAVES.T]), "names": np.array(["t", *NAMES], dtype=object)},
    "imported": {"data": np.column_stack([T, WAVES]), "colheaders": np.array(["Time", *NAMES], dtype=object)},
    "data and names": {"t": T, "data": WAVES, "labels": CELL_NAMES, "units": np.array(["A"] * 3 + ["V"] * 3, object)},
    "names in a text": {"t": T, "data": WAVES, "names": "ia, ib, ic, va, vb, vc"},
    "timeseries as structs": {
        name: {"Time": T, "Data": values, "Name": name, "TimeInfo": {"Units": "seconds"}}
        for name, values in COLUMNS.items()
    },
    "cells": {
        "t": T,
        "I": np.array([*WAVES[:, :3].T, None], object)[:3],
        "V": np.array([*WAVES[:, 3:].T, None], object)[:3],
    },
    "milliseconds": {"t_ms": 1000 * T, **COLUMNS},
    "milliseconds unnamed": {"t": 1000 * T, **COLUMNS},
    "date numbers": {"t": 739253 + T / 86400, **COLUMNS},
    "units in names": {"t": T, **{f"{n}_{'kA' if n[0] == 'i' else 'kV'}": v / 1000 for n, v in COLUMNS.items()}},
    "sample numbers": {"n": np.arange(480.0), "fs": 4800.0, **COLUMNS},
    "single and integers": {
        "t": T,
        **{n: v.astype(np.float32) for n, v in COLUMNS.items()},
        "trip": np.zeros(480, np.uint8),
    },
    "with other lengths": {"t": T, **COLUMNS, "rms": np.ones(48), "setting": 3.0, "A": np.eye(3)},
}
