"""Define ``faultline access``, which shows and grants the rights that each role needs on the broker."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Show or grant the least rights that each role needs on the broker.", no_args_is_help=True)

Broker = Annotated[
    str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
]


@app.command()
def show(
    commands: Annotated[bool, typer.Option("--commands", help="Print commands for kafka-acls.")] = False,
    broker: Broker = None,
) -> None:
    """Print the rights of each role: one line per role and topic or group. The broker is not contacted.

    Example: `faultline access show --commands > grant.sh`
    """
    from stream.kafka.acls import ROLES, grants, kafka_acls
    from stream.settings import load_settings

    settings = load_settings(broker=broker)
    for grant in grants(settings):
        if commands:
            typer.echo(kafka_acls(grant, settings.broker))
            continue
        name = f"{grant.resource.lower()} {grant.name}{'*' * grant.prefixed}"
        typer.echo(f"{grant.role:<10}  {name:<28}  {', '.join(grant.operations)}")
    if not commands:
        typer.echo("\n" + "\n".join(f"{role}: {purpose}" for role, purpose in ROLES.items()), err=True)


@app.command("apply")
def apply_(broker: Broker = None) -> None:
    """Grant the users gateway, worker, trainer, subscriber and operator the rights of `faultline access show` only.

    Any other right of these five users is removed; rights of other users are not changed. The command needs Alter on
    the cluster, the right of an administrator.

    Example: `FAULTLINE_SASL_USERNAME=admin faultline access apply --broker kafka:9093`
    """
    from stream.kafka.acls import apply_grants, grants
    from stream.settings import load_settings

    settings = load_settings(broker=broker)
    added, removed = apply_grants(settings, grants(settings))
    typer.echo(f"{added} rights added, {removed} removed")
