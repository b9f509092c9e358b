"""``faultline broker``: the embedded broker in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def broker(
    port_file: Annotated[
        Path | None, typer.Option(help="Write the address to this file too, for scripts that wait for it.")
    ] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End when the process that started this one ends.")
    ] = False,
) -> None:
    """Run the embedded broker on a free port of this machine and print its address.

    It is for trying out: everything is in memory and gone when it ends, only the newest 5 MiB of each
    partition are kept, and a second worker can join a group only within its first 3 seconds. For anything
    that must not be lost use Apache Kafka ('docker compose up -d broker', or your own).

    Example: faultline broker --port-file broker.txt & sleep 1; FAULTLINE_BROKER=$(cat broker.txt) faultline worker
    """
    from stream.kafka.embedded import serve

    # typer.echo flushes: a script reads the address while the broker runs.
    serve(on_start=typer.echo, port_file=port_file, with_parent=with_parent)
