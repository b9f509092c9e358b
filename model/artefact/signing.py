"""Sign models with Ed25519, verify signatures, and read and write the key files.

A signature proves that the holder of the private key sent this model under this record key. It proves nothing about
time: an old record that is sent again, as by a rollback, is still valid. Ed25519 is RFC 8032; the files are PEM
(RFC 8410), so `openssl pkey` reads them.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from model.errors import SigningError

__all__ = [
    "PRIVATE_KEY_FILE",
    "PUBLIC_KEY_FILE",
    "Ed25519PrivateKey",
    "Ed25519PublicKey",
    "key_id",
    "new_keys",
    "private_key",
    "public_key",
    "sign",
    "verify",
]

PRIVATE_KEY_FILE = "faultline-model.key"
PUBLIC_KEY_FILE = "faultline-model.pub"

_SIGNATURE_BYTES = 64
# Number of bytes read of a key file at most; the PEM text of such a key has 119 characters.
_MOST_KEY_BYTES = 4096


def new_keys(folder: str | Path) -> tuple[Path, Path]:
    """Create a pair of keys in a folder, which is created if it does not exist; no file is overwritten.

    Returns:
        Paths of the private key (readable by its owner alone) and of the public key.

    Raises:
        SigningError: the folder holds a key already, or cannot be written.
    """
    target = Path(folder)
    private, public = target / PRIVATE_KEY_FILE, target / PUBLIC_KEY_FILE
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise SigningError(f"{path} exists already and is not overwritten: give another folder")
    key = Ed25519PrivateKey.generate()
    private_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write(private, private_text, 0o600)
        _write(public, public_text, 0o644)
    except OSError as error:
        raise SigningError(
            f"no keys made in {target}: {error.strerror or error}; give a folder that you may write"
        ) from None
    return private, public


def _write(path: Path, text: bytes, mode: int) -> None:
    # The mode is set at creation, because anybody could open the file between creation and a later chmod.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def private_key(path: str | Path) -> Ed25519PrivateKey:
    """Read a private key; raise SigningError, which never quotes the file, if it cannot be used."""
    text = _read(path)
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError):
        raise SigningError(
            f"{path} is not an unencrypted private key in PEM format: `faultline keys new` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{path} is a key of another kind: Ed25519 is needed, `faultline keys new` makes one")
    return key


def public_key(path: str | Path) -> Ed25519PublicKey:
    """Read a public key; raise SigningError if it cannot be used."""
    text = _read(path)
    try:
        key = serialization.load_pem_public_key(text)
    except ValueError:
        raise SigningError(f"{path} is not a public key in PEM format: `faultline keys new` makes one") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SigningError(f"{path} is a key of another kind: Ed25519 is needed, `faultline keys new` makes one")
    return key


def _read(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MOST_KEY_BYTES)
    except OSError as error:
        raise SigningError(f"the key {path} cannot be read: {error.strerror or error}") from None


def key_id(key: Ed25519PublicKey) -> str:
    """Return sixteen hexadecimal characters that identify a key to people; no check relies on them."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def sign(key: Ed25519PrivateKey, payload: bytes) -> bytes:
    """Return the signature in base64."""
    return base64.b64encode(key.sign(payload))


def verify(keys: Iterable[Ed25519PublicKey], payload: bytes, signature: bytes) -> bool:
    """Return True if one of the keys made the signature (base64) of the payload; never raise for invalid input."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    return len(raw) == _SIGNATURE_BYTES and any(_made_by(key, raw, payload) for key in keys)


def _made_by(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True
