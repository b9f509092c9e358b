"""Define ``faultline topics``, which creates Faultline's topics or checks existing ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import spec_names

if TYPE_CHECKING:
    from stream.settings import Settings

app = typer.Typer(help="Create Faultline's topics, or check existing ones.", no_args_is_help=True)

Broker = Annotated[
    str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
]
Spec = Annotated[
    str | None,
    typer.Option(
        autocompletion=spec_names, help="Signal spec: each of its fault types has a topic [default: FAULTLINE_SPEC]."
    ),
]


@app.command()
def create(
    broker: Broker = None,
    partitions: Annotated[
        int | None,
        typer.Option(help="Partitions of the topics keyed by line [default: FAULTLINE_PARTITIONS].", min=1),
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(help="Copies of each partition; 3 on a cluster [default: FAULTLINE_REPLICATION_FACTOR].", min=1),
    ] = None,
    spec: Spec = None,
) -> None:
    """Create the topics that are missing. Existing topics are not changed, so the command can be repeated.

    The command needs the rights Create and Describe on the topics. If they are denied, the message shows the command
    with which an administrator grants them.

    Example: `faultline topics create --broker kafka:9092 --partitions 12 --replication-factor 3`
    """
    from stream.kafka.topics import create_topics
    from stream.settings import load_settings

    settings = load_settings(broker=broker, partitions=partitions, replication_factor=replication_factor, spec=spec)
    results = asyncio.run(create_topics(settings))
    for result in results:
        typer.echo(f"{result.outcome:8} {result.name}" + (f": {result.detail}" if result.detail else ""))
    _raise_for([r.name for r in results if r.outcome == "denied"], settings)
    failed = [f"{r.name} ({r.detail})" for r in results if r.outcome == "failed"]
    if failed:
        from stream.errors import TopicError

        raise TopicError(
            f"not created: {', '.join(failed)}; the usual cause is a replication factor above the number of brokers: "
            "set FAULTLINE_REPLICATION_FACTOR"
        )


def _raise_for(denied: list[str], settings: Settings) -> None:
    if not denied:
        return
    from stream.errors import AccessDeniedError
    from stream.kafka.acls import grant_advice

    # Every topic is named, since one rule for a common prefix would grant more than is needed.
    raise AccessDeniedError(
        f"denied: cannot create {len(denied)} topics; "
        + grant_advice(settings, denied, "Create", "Describe", "DescribeConfigs")
    )


@app.command()
def check(broker: Broker = None, spec: Spec = None) -> None:
    """Check the topics of the broker against what Faultline needs. Nothing is changed.

    The command checks existence, partitions (line-states must have as many as sensor-windows), compaction and message
    size, and prints one line per finding: ok, warn or fail. The exit status is 0 if no finding is fail.

    Example: `FAULTLINE_BROKER=kafka:9092 faultline topics check`
    """
    from stream.errors import TopicError
    from stream.kafka.topics import check_topics
    from stream.settings import load_settings

    findings = asyncio.run(check_topics(load_settings(broker=broker, spec=spec)))
    for finding in findings:
        typer.echo(f"{finding.level:4} {finding.name}: {finding.message}")
    failed = sorted({finding.name for finding in findings if finding.level == "fail"})
    if failed:
        raise TopicError(f"{len(failed)} topics must be corrected: {', '.join(failed)}")
