"""Output of PSCAD, written with its listing as the simulator writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.domains.powerline.waveforms.record_samples import Shape, load_waves

SHAPE = Shape(segments=((4000.0, 400),))
WAVES = load_waves(SHAPE) / 1000
NAMES = ("Ia", "Ib", "Ic", "Va", "Vb", "Vc")
UNITS = ("kA", "kA", "kA", "kV", "kV", "kV")


def fortran(value: float) -> str:
    """Return a number as Fortran writes it: 0.5 of the mantissa first, no E before three digits of an exponent."""
    if value == 0:
        return f"{'0.0000000000000':>22}"
    exponent = int(np.floor(np.log10(abs(value)))) + 1
    mantissa = f"{value / 10.0**exponent:.14f}"
    letter = f"E{exponent:+03d}" if abs(exponent) < 100 else f"{exponent:+04d}"
    return f"{mantissa + letter:>22}"


def write_run(
    folder: Path,
    samples: NDArray[np.float64],
    *,
    run: str = "case",
    listing: bool = True,
    names: tuple[str, ...] = NAMES,
    units: tuple[str, ...] = UNITS,
    groups: tuple[str, ...] = (),
    title: str = "Test case  ",
) -> Path:
    """Write samples (t, channels) in files of ten columns, and return the path of the first."""
    times = SHAPE.times()
    for first in range(0, samples.shape[1], 10):
        part = np.column_stack([times, samples[:, first : first + 10]])
        rows = ["".join(fortran(value) for value in row) for row in part]
        (folder / f"{run}_{first // 10 + 1:02d}.out").write_text("\n".join([title, *rows]) + "\n")
    if listing:
        lines = [
            f'PGB({k}) Output Desc="{name}" Group="{group}" Max=2.0 Min=-2.0  Units="{unit}"'
            for k, (name, unit, group) in enumerate(zip(names, units, groups or ["Main"] * len(names), strict=True), 1)
        ]
        (folder / f"{run}.inf").write_text("\n".join(lines) + "\n")
    return folder / f"{run}_01.out"
