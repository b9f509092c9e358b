"""Define ``faultline models``, which shows, promotes and compares the models on the topic."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultline.cli.completion import spec_names
from faultline.output import print_json, print_table

if TYPE_CHECKING:
    from model.artefact import Artefact
    from stream.settings import Settings

app = typer.Typer(
    help="Show, promote, roll back and compare the models on the topic: champion, shadow and archive.",
    no_args_is_help=True,
)

Broker = Annotated[
    str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
]
Spec = Annotated[
    str | None,
    typer.Option(autocompletion=spec_names, help="Signal spec: a name or a TOML file [default: FAULTLINE_SPEC]."),
]
By = Annotated[str | None, typer.Option(help="Name of the person who makes the change [default: your user name].")]
Reason = Annotated[str, typer.Option(help="Reason, shown by `faultline models list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Argument(help="Id of a model, champion, shadow, or the path of a .safetensors file.")]


OWN_ARTEFACT = "the artefact that workers start with"


def _settings(broker: str | None, spec: str | None) -> Settings:
    # Promotion loads the model with Keras; TensorFlow's start-up messages are hidden, since they only distract.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from stream.settings import load_settings
    from stream.telemetry.logs import configure_logs

    settings = load_settings(broker=broker, spec=spec)
    configure_logs(settings)
    return settings


@app.command("list")
def list_(broker: Broker = None, as_json: Json = False) -> None:
    """List the champion, the shadow and the archive of every spec, and whether workers would accept each model.

    Example: `faultline models list`
    """
    from stream.registry.promote import listed

    settings = _settings(broker, None)
    rows = asyncio.run(listed(settings))
    if as_json:
        print_json([asdict(row) for row in rows], indent=2)
        return
    if not rows:
        typer.echo("no model on the topic: workers use FAULTLINE_MODEL, or the shipped artefact if that is not set")
        return
    shown = [
        (row.role, row.model_id, row.promoted_at[:19], row.promoted_by, row.signature, row.refused or row.reason)
        for row in rows
    ]
    _print_rows(("role", "model", "promoted (UTC)", "by", "signed by", "reason, or why it is refused"), shown)


@app.command()
def show(model: Model = "champion", broker: Broker = None, spec: Spec = None, as_json: Json = False) -> None:
    """Show a model's manifest: scores, provenance, architecture and spec.

    Example: `faultline models show line-0f3a91c27d5e`
    """
    from stream.registry.promote import find

    artefact = asyncio.run(find(_settings(broker, spec), model))
    if as_json:
        print_json(described(artefact), indent=2)
        return
    for name, value in flat(artefact).items():
        typer.echo(f"{name}: {value}")


@app.command()
def promote(
    file: Annotated[Path, typer.Argument(help="Artefact: a .safetensors file.")],
    reason: Reason = "",
    by: By = None,
    broker: Broker = None,
    spec: Spec = None,
) -> None:
    """Make a model the champion of all workers, after verifying its hashes, shapes, spec and size.

    The gate is not applied here: the trainer and `faultline report` apply it. The model is signed if
    FAULTLINE_MODEL_PRIVATE_KEY is set. Workers swap it in between two micro-batches when it is warm, within seconds.

    Example: `faultline models promote line.safetensors --reason "trained on the labels of this autumn"`
    """
    from stream.registry.promote import promote as promote_model
    from stream.registry.promote import verified_file

    settings = _settings(broker, spec)
    artefact = verified_file(settings, file)
    former = asyncio.run(promote_model(settings, artefact, by=by, reason=reason))
    typer.echo(f"champion is now {artefact.model_id}, was {former or OWN_ARTEFACT}")


@app.command()
def rollback(
    to: Annotated[
        str | None,
        typer.Option(
            help="Id of a model of the archive, or own for the artefact that workers start with"
            " [default: the previous champion]."
        ),
    ] = None,
    reason: Reason = "rollback",
    by: By = None,
    broker: Broker = None,
    spec: Spec = None,
) -> None:
    """Return to the previous champion, or to the model that --to names.

    A second rollback without --to undoes the first.

    Example: `faultline models rollback --reason "false alarms on feeder 12"`
    """
    from stream.registry.promote import rollback as go_back

    done = asyncio.run(go_back(_settings(broker, spec), to=to, by=by, reason=reason))
    typer.echo(f"champion is now {done.present or OWN_ARTEFACT}, was {done.former or OWN_ARTEFACT}")


@app.command()
def diff(
    first: Model,
    second: Model,
    everything: Annotated[bool, typer.Option("--all", help="Also show equal values.")] = False,
    broker: Broker = None,
    spec: Spec = None,
    as_json: Json = False,
) -> None:
    """Show two models' scores, spec, architecture and provenance side by side.

    Example: `faultline models diff champion candidate.safetensors`
    """
    from stream.registry.promote import find

    settings = _settings(broker, spec)

    async def both() -> tuple[Any, Any]:
        return await find(settings, first), await find(settings, second)

    rows = differences(*asyncio.run(both()), equal=everything)
    if as_json:
        print_json([asdict(row) for row in rows], indent=2)
        return
    shown = [(row.name, row.first, row.second, "" if row.change is None else f"{row.change:+g}") for row in rows]
    _print_rows(("", first, second, "change"), shown)


@app.command()
def shadow(
    file: Annotated[Path | None, typer.Argument(help="Artefact of the candidate: a .safetensors file.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Stop the shadow.")] = False,
    reason: Reason = "",
    by: By = None,
    broker: Broker = None,
    spec: Spec = None,
) -> None:
    """Run a candidate as shadow of the champion in every worker; it is compared and publishes no fault events.

    If FAULTLINE_WINDOW_CLASSES is on, its classes are published on `window-classes`, marked as shadow. The metric
    `faultline_shadow_windows_total` counts the windows that both models classify alike and those that they classify
    differently. A busy worker skips the shadow.

    Example: `faultline models shadow candidate.safetensors`
    """
    from stream.errors import ModelsError
    from stream.registry.promote import set_shadow, verified_file

    if (file is None) is not off:
        raise ModelsError("give either a file or --off, as in: faultline models shadow candidate.safetensors")
    settings = _settings(broker, spec)
    artefact = None if file is None else verified_file(settings, file)
    asyncio.run(set_shadow(settings, artefact, by=by, reason=reason))
    typer.echo("the shadow is off" if artefact is None else f"shadow is now {artefact.model_id}")


def _print_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        # Text is used instead of markup, because the strings come from anyone who may write to the topic.
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    print_table(table)


# Manifests ---------------------------------------------------------------------------------------------------------


def described(artefact: Artefact) -> dict[str, Any]:
    """Return the manifest without its list of tensors."""
    manifest = artefact.manifest.model_dump(mode="json", exclude={"tensors"})
    parameters = sum(int(weight.size) for weight in artefact.weights.values())
    return {"model_id": artefact.model_id, "parameters": parameters, **manifest}


def flat(artefact: Artefact) -> dict[str, Any]:
    """Return the manifest as one level of dotted names, without the epochs' history, and with the spec's digest."""
    manifest = artefact.manifest
    tree = described(artefact) | {"spec": {"name": manifest.spec.name, "digest": manifest.spec.digest[:12]}}
    tree["metrics"] = {name: value for name, value in manifest.metrics.items() if name != "history"}
    return dict(_leaves("", tree))


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        prefix = f"{name}." if name else ""
        return [leaf for key, inner in value.items() for leaf in _leaves(f"{prefix}{key}", inner)]
    return [(name, json.dumps(value) if isinstance(value, list) else value)]


@dataclass(frozen=True)
class Difference:
    """Entry of two manifests: its name, both values (None if missing) and, for numbers, second minus first."""

    name: str
    first: Any
    second: Any
    change: float | None


def differences(first: Artefact, second: Artefact, *, equal: bool = False) -> list[Difference]:
    """Return the entries in which two models' manifests differ; with ``equal``, return equal entries as well."""
    one, other = flat(first), flat(second)
    rows = []
    for name in [*one, *(name for name in other if name not in one)]:
        a, b = one.get(name), other.get(name)
        if a == b and not equal:
            continue
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b))
        rows.append(Difference(name, a, b, round(b - a, 6) if numbers and a is not None and b is not None else None))
    return rows
