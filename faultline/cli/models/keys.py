"""``faultline keys``: the keys that models are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The keys that models on the topic are signed with.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Make keys; the trainer signs with the private one, workers verify with the public one."""


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="Folder for the two files; made when it is not there.")]) -> None:
    """Make a pair of Ed25519 keys and say what to set. Nothing is ever overwritten.

    Whoever promotes (the trainer, `faultline models promote`) needs the private key, workers the public one.
    With a public key set, a worker takes no model that is not signed by its private key.

    To change keys: make new ones, give workers both public keys, promote with the new private key, then take the
    old public key from the workers.

    Example: faultline keys new keys/2026
    """
    from model.artefact.signing import key_id, new_keys, public_key

    private, public = new_keys(folder)
    typer.echo(f"key {key_id(public_key(public))} made")
    typer.echo(f"FAULTLINE_MODEL_PRIVATE_KEY={private}   # trainer and whoever promotes: keep it secret")
    typer.echo(f"FAULTLINE_MODEL_PUBLIC_KEYS={public}   # workers, trainer; several separated by commas")
