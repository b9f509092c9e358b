"""Options of the commands that read records: the same names and meanings in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from domains.powerline.waveforms import ReadOptions

Encoding = Annotated[str | None, typer.Option(help="Of the header's text, e.g. gbk, cp1251 [default: found].")]
Channels = Annotated[
    str | None,
    typer.Option(help="Which channel is what: 'ia=4 ib=5 ic=6 va=1 vb=2 vc=3', by number or name; 'a: …; b: …'."),
]
Mapping = Annotated[Path | None, typer.Option(help="TOML with time, time_unit, rate_hz and tables [lines.NAME].")]
Flip = Annotated[bool, typer.Option("--flip", help="Turn round the currents that were found reversed.")]
Frequency = Annotated[float | None, typer.Option(help="Of the mains, Hz [default: estimated].")]
Rate = Annotated[float | None, typer.Option(help="Samples per second, where the file does not say or is wrong.")]
CurrentBase = Annotated[float | None, typer.Option(help="Peak ampere that are one per unit [default: chosen].")]
VoltageBase = Annotated[float | None, typer.Option(help="Peak volt to ground that are one per unit.")]


def read_options(**given: object) -> ReadOptions:
    """Return options for ``open_waveforms``.

    Raises:
        RecordError: an option is not allowed; the message is one line.
    """
    from pydantic import ValidationError

    from domains.powerline.waveforms import ReadOptions, RecordError

    try:
        return ReadOptions.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).removesuffix("_hz").replace("_", "-")
        raise RecordError(f"--{option}: {first['msg']}, got {first['input']!r:.40}") from None
