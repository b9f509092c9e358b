"""Valid tables in dialects, runs of PSCAD and MATLAB files, from which broken records are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.domains.powerline.waveforms.formats.matlab_samples import VARIABLES
from tests.domains.powerline.waveforms.formats.pscad_samples import write_run
from tests.domains.powerline.waveforms.formats.table_dialects import Dialect, table_text
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves

SHAPE = Shape(segments=((4800.0, 80),))
DIALECTS = (
    Dialect(separator=" ", exponent="D", names="pscad"),
    Dialect(separator=";", comma=True, units="bracket row", devices=True, time="clock"),
    Dialect(separator="\t", preamble="labview", units="square", trailing=True),
    Dialect(quoting="all", comma=True, names="rtds", preamble="metadata", time="index"),
    Dialect(names="commas", units="in", time="date and time", status=True, line_end="\r\n"),
    Dialect(separator="|", time="month name", encoding="utf-16", preamble="percent"),
    Dialect(separator=";", time="day first", comma=True, encoding="latin-1", line_end="\r", sep_line=True),
    Dialect(time="coarse", units="row", blank_lines=True, encoding="utf-8-sig"),
    Dialect(time="excel", names="simulink"),
)


def table_seeds(folder: Path) -> list[dict[str, bytes]]:
    """Return the contents of valid files by suffix; the first names the record."""
    waves, times = load_waves(SHAPE), SHAPE.times()
    found = [{".csv": table_text(dialect, waves, times).encode(dialect.encoding)} for dialect in DIALECTS]
    found += [{".csv": "\n".join(["t,ia,ib,ic,va,vb,vc", *rows]).encode()} for rows in _grouped_and_paired(waves)]
    for count in (1, 3):
        run = f"run{count}"
        write_run(
            folder,
            load_waves(Shape(segments=((4000.0, 400),))).repeat(count, axis=1)[:, : 6 * count],
            run=run,
            names=tuple(f"C{k}" for k in range(6 * count)),
            units=("kA",) * (6 * count),
        )
        files = {".inf": (folder / f"{run}.inf").read_bytes()}
        files |= {path.name.removeprefix(run): path.read_bytes() for path in sorted(folder.glob(f"{run}_*.out"))}
        found.append(files)
    forms: tuple[tuple[str, dict[str, Any]], ...] = (
        *(("vectors", {}), ("vectors", {"format": "4"}), ("simulink scope", {}), ("cells", {})),
        *(("struct in struct", {}), ("imported", {"do_compression": True}), ("data and names", {})),
        *(("timeseries as structs", {"do_compression": True}), ("matrices across", {"format": "4"})),
    )
    for number, (kind, how) in enumerate(forms):
        path = folder / f"seed{number}.mat"
        savemat(path, VARIABLES[kind], **how)
        found.append({".mat": path.read_bytes()})
    return found


def _grouped_and_paired(waves: NDArray[np.float64]) -> tuple[list[str], list[str]]:
    """Return rows with signs between the thousands, and rows whose decimal sign is the separator."""
    grouped, paired = [], []
    for k, row in enumerate(waves):
        grouped.append(",".join([f"{k / 4800:.6f}", *(f'"{value:,.3f}"' for value in row)]))
        paired.append(",".join([f"0,{k:04d}", *(f"{value:.2f}".replace(".", ",") for value in row)]))
    return grouped, paired
