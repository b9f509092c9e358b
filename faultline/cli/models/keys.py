"""Define ``faultline keys``, which creates the keys with which models are signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make the keys that sign the models on the topic.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Make keys: the trainer signs models with the private key, workers verify them with the public key."""


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="Folder for the two files; created if missing.")]) -> None:
    """Create a pair of Ed25519 keys and print the settings that use them. Existing files are never overwritten.

    Whoever promotes models (the trainer, `faultline models promote`) needs the private key; workers need the public
    key. A worker that has public keys accepts only models signed with one of the matching private keys.

    To replace keys: create a new pair, give the workers both public keys, promote a model with the new private key,
    then remove the old public key from the workers.

    Example: `faultline keys new keys/2026`
    """
    from model.artefact.signing import key_id, new_keys, public_key

    private, public = new_keys(folder)
    typer.echo(f"made key {key_id(public_key(public))}; set:")
    typer.echo(f"FAULTLINE_MODEL_PRIVATE_KEY={private}   # trainer and whoever promotes models: keep it secret")
    typer.echo(f"FAULTLINE_MODEL_PUBLIC_KEYS={public}   # workers and trainer: separate several with commas")
