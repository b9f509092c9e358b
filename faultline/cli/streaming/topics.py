"""``faultline topics``: create our topics, or check those that somebody else created."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.settings import Settings

app = typer.Typer(help="Create our topics, or check those that are there.", no_args_is_help=True)

Broker = Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…]; FAULTLINE_BROKER when not given.")]
Spec = Annotated[str | None, typer.Option(help="Signal spec, whose fault types have topics; else FAULTLINE_SPEC.")]


@app.command()
def create(
    broker: Broker = None,
    partitions: Annotated[int | None, typer.Option(help="Of the topics that hold lines.", min=1)] = None,
    replication_factor: Annotated[int | None, typer.Option(help="Copies; 3 on a cluster.", min=1)] = None,
    spec: Spec = None,
) -> None:
    """Create the topics that are missing; those that exist are left as they are, so run it as often as you like.

    Needs the rights Create and Describe on the topics. Where they are denied, the message names the command
    for whoever may grant them.

    Example: faultline topics create --broker kafka:9092 --partitions 12 --replication-factor 3
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
            f"not created: {', '.join(failed)}; too many copies for the brokers there are is the usual cause: "
            "set FAULTLINE_REPLICATION_FACTOR"
        )


def _raise_for(denied: list[str], settings: Settings) -> None:
    if not denied:
        return
    from stream.errors import AccessDeniedError
    from stream.kafka.acls import grant_advice

    # One rule for a common prefix would grant more than is needed: every topic is named.
    raise AccessDeniedError(
        f"denied: cannot create {len(denied)} topics; "
        + grant_advice(settings, denied, "Create", "Describe", "DescribeConfigs")
    )


@app.command()
def check(broker: Broker = None, spec: Spec = None) -> None:
    """Compare the topics of the broker with what Faultline needs; nothing is changed.

    Looks at existence, partitions (line-states must have as many as sensor-windows), compaction and message
    size, and prints one line for each finding. The exit status is 0 when nothing fails.

    Example: FAULTLINE_BROKER=kafka:9092 faultline topics check
    """
    from stream.errors import TopicError
    from stream.kafka.topics import check_topics
    from stream.settings import load_settings

    findings = asyncio.run(check_topics(load_settings(broker=broker, spec=spec)))
    for finding in findings:
        typer.echo(f"{finding.level:4} {finding.name}: {finding.message}")
    failed = sorted({finding.name for finding in findings if finding.level == "fail"})
    if failed:
        raise TopicError(f"{len(failed)} topics to put right: {', '.join(failed)}")
