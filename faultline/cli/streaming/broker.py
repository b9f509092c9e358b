"""Define ``faultline broker``, which runs the embedded broker as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def broker(
    port_file: Annotated[
        Path | None, typer.Option(help="Also write the address to this file, for scripts that wait for it.")
    ] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Exit when the process that started this one exits.")
    ] = False,
) -> None:
    """Run the embedded broker on a free port of this machine and print its address.

    The embedded broker is for tests and trials. It keeps everything in memory and loses it on exit, it keeps only the
    newest 5 MiB of each partition, and a second worker can join a group only within the group's first 3 seconds. For
    data that must not be lost use Apache Kafka (`docker compose up -d broker`, or your own cluster).

    Example: `faultline broker --port-file broker.txt & sleep 5; FAULTLINE_BROKER=$(cat broker.txt) faultline worker`
    """
    from stream.kafka.embedded import serve

    # typer.echo flushes: a script reads the address while the broker runs.
    serve(on_start=typer.echo, port_file=port_file, with_parent=with_parent)
