"""Define the options that all commands for waveform files share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from domains.powerline.waveforms import ReadOptions

FORMATS = (
    "COMTRADE (.cfg, .dat, .cff), SEL event report (.cev, .eve, .txt), PQDIF (.pqd), CSV, Parquet, MATLAB (.mat), "
    "PSCAD (.out, .inf)"
)
"""File formats of waveforms, for the help of commands."""
Files = Annotated[list[Path], typer.Argument(help=f"{FORMATS}; or a .zip or folder of records.")]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding of the header, such as gbk or cp1251 [default: detected].")
]
Channels = Annotated[
    str | None,
    typer.Option(
        help="Assign channels by number or name: 'ia=4 ib=5 ic=6 va=1 vb=2 vc=3'; for several lines 'a: …; b: …'"
        " [default: by names, units and waveforms]."
    ),
]
Mapping = Annotated[Path | None, typer.Option(help="TOML file with time, time_unit, rate_hz and tables [lines.NAME].")]
Flip = Annotated[bool, typer.Option("--flip", help="Invert the currents whose polarity is found to be reversed.")]
Frequency = Annotated[float | None, typer.Option(help="Mains frequency, Hz [default: estimated].")]
Rate = Annotated[float | None, typer.Option(help="Sampling rate, Hz, if the file states none or a wrong one.")]
CurrentBase = Annotated[
    float | None, typer.Option(help="Current base: peak amperes of one per unit [default: from the record].")
]
VoltageBase = Annotated[
    float | None, typer.Option(help="Voltage base: peak volts to ground of one per unit [default: from the record].")
]


def read_options(**given: object) -> ReadOptions:
    """Return options for ``open_waveforms``.

    Raises:
        RecordError: if the value of an option is not allowed; the message is one line.
    """
    from pydantic import ValidationError

    from domains.powerline.waveforms import ReadOptions, RecordError

    try:
        return ReadOptions.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).removesuffix("_hz").replace("_", "-")
        raise RecordError(f"--{option}: {first['msg']}, got {first['input']!r:.40}") from None
