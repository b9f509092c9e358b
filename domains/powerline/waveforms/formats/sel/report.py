"""Content of an event report of an SEL relay, however the file writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Finding, Statement

MAX_STATEMENT = 200
"""Length at which the text of a statement is cut."""


@dataclass(slots=True)
class EventReport:
    """Rows and statements of a report.

    Attributes:
        format: name of the format for people.
        names: names of the columns of samples, without units.
        units: unit of each column; empty if the report states none.
        values: float64 (columns, rows), as written; NaN where a value is missing.
        marks: mark of each row: ``>`` for the trigger, ``*`` for the highest current, else empty.
        numbers: numbers of the rows (rows,) if some cycles may be missing, else None.
        per_cycle: rows per mains cycle; None if the report does not state it.
        frequency_hz: frequency stated by the relay; None if it states none.
        stamp_ns: Unix time of the row of the trigger; None if there is no valid one.
        primary: True for values of the primary side, False for the secondary side, None if not stated.
        ratios: CT and VT ratios by the name in the report, e.g. ``{"CTR_IA": 120.0}``.
        summary_currents: RMS phase currents in the report's summary.
        station: name of the station.
        device: identification of the firmware.
    """

    format: str
    names: list[str]
    units: list[str]
    values: NDArray[np.float64]
    marks: list[str]
    numbers: NDArray[np.int64] | None = None
    per_cycle: float | None = None
    frequency_hz: float | None = None
    stamp_ns: int | None = None
    primary: bool | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    summary_currents: dict[str, float] = field(default_factory=dict)
    station: str = ""
    device: str = ""
    statements: list[Statement] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def plain_names(self) -> list[str]:
        """Return the names in upper case."""
        return [name.upper() for name in self.names]

    @property
    def trigger_row(self) -> int | None:
        """Return the index of the trigger's row; the mark of the highest current may replace that of the trigger."""
        for sign in ">*":
            if sign in self.marks:
                return self.marks.index(sign)
        return None

    def ratio_of(self, name: str) -> float | None:
        """Return the ratio of the transformer behind a column, such as ``CTR_IA`` or ``PTR_VA``; None if unknown."""
        kind = "PTR" if name.startswith("V") else "CTR"
        for key in (f"{kind}_{name}", f"{kind}{name[-1]}", f"{kind}_{name[-1]}", kind):
            if key in self.ratios:
                return self.ratios[key]
        same = [ratio for key, ratio in self.ratios.items() if re.match(rf"{kind}_?[IV]?[ABC]", key)]
        return same[0] if same and re.match(r"[IV][ABCG]", name) else None

    def note(self, code: str, message: str) -> None:
        """Add a note: a peculiarity that was handled without doubt."""
        self.findings.append(Finding("note", code, message))

    def warn(self, code: str, message: str) -> None:
        """Add a warning: a problem that the user should check."""
        self.findings.append(Finding("warning", code, message))

    def state(self, source: str, text: str) -> None:
        """Add a statement of the relay, unless it is empty or a placeholder."""
        plain = " ".join(text.split())
        if plain.strip("$*-. "):
            self.statements.append(Statement(source, plain[:MAX_STATEMENT]))
