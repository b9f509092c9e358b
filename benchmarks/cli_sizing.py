"""`python -m benchmarks sizing`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def sizing(
    unit_costs: Annotated[Path, typer.Option(help="JSON of `python -m benchmarks`, or of unit costs.", exists=True)],
    lines: Annotated[str, typer.Option(help="Numbers of lines.")] = "100,1000,10000,100000,1000000",
    rates: Annotated[str, typer.Option(help="Windows per second of a line.")] = "200,50,1",
    assume: Annotated[
        list[str] | None, typer.Option(help="An assumption, e.g. windows_per_message=16; may be repeated.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Document whose tables are replaced.", exists=True)] = None,
    costs_out: Annotated[Path | None, typer.Option(help="Write the unit costs alone as JSON to this file.")] = None,
) -> None:
    """What so many lines need: partitions, workers, brokers, GPUs, and what is full first, from measured unit costs.

    Example: `python -m benchmarks sizing --unit-costs bench.json --lines 5000 --rates 200`
    """
    from pydantic import ValidationError

    from benchmarks.sizing.sizing import Assumptions
    from benchmarks.sizing.sizing_text import replace_in, sizing_markdown
    from benchmarks.sizing.unit_costs import SizingError, UnitCosts

    try:
        document = json.loads(unit_costs.read_text("utf-8"))
    except ValueError:
        raise SizingError(f"{unit_costs} is no JSON") from None
    costs = UnitCosts.from_bench(document)
    try:
        given = Assumptions.model_validate(dict(one.split("=", 1) for one in assume or ()))
        tables = sizing_markdown(costs, given, [int(one) for one in lines.split(",")], _floats(rates))
    except ValidationError as error:
        first = error.errors()[0]
        raise SizingError(f"--assume {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise SizingError(f"--lines, --rates and --assume want numbers: {error}") from None
    if costs_out is not None:
        costs_out.write_text(costs.model_dump_json(indent=2) + "\n")
    if into is None:
        print(tables)
    else:
        replace_in(into, tables)


def _floats(text: str) -> list[float]:
    return [float(one) for one in text.split(",")]
