"""Keys and signatures: verification, refusal, and the files of keys."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from model.artefact.signing import Ed25519PrivateKey, key_id, new_keys, private_key, public_key, sign, verify
from model.errors import SigningError

KEY = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
PEM = serialization.Encoding.PEM


def test_new_keys_sign_and_verify_through_their_files(tmp_path: Path) -> None:
    private, public = new_keys(tmp_path / "keys")
    signature = sign(private_key(private), b"payload")
    assert verify([public_key(public)], b"payload", signature)
    assert key_id(public_key(public)) == key_id(private_key(private).public_key())


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    private, public = new_keys(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) & 0o222 == 0o200, "nobody else may change what workers trust"


@pytest.mark.parametrize("there", ["faultline-model.key", "faultline-model.pub"])
def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(SigningError, match="is not overwritten"):
        new_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "faultline-model.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningError, match="is not overwritten"):
        new_keys(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SigningError, match="no keys made in"):
        new_keys(tmp_path / "file" / "keys")


def test_while_keys_are_changed_either_key_verifies() -> None:
    keys = [OTHER.public_key(), KEY.public_key()]
    assert verify(keys, b"payload", sign(KEY, b"payload"))
    assert verify(keys, b"payload", sign(OTHER, b"payload"))
    assert not verify(keys[:1], b"payload", sign(KEY, b"payload"))
    assert not verify([], b"payload", sign(KEY, b"payload"))


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_the_payload_verifies(payload: bytes, place: int, flip: int) -> None:
    signature = sign(KEY, payload)
    changed = bytearray(payload or b"\0")
    changed[place % len(changed)] ^= flip
    assert verify([KEY.public_key()], payload, signature)
    assert not verify([KEY.public_key()], bytes(changed), signature)
    assert not verify([KEY.public_key()], payload + b"\0", signature)


@given(st.binary(max_size=100))
def test_whatever_is_given_as_a_signature_is_refused_without_an_error(signature: bytes) -> None:
    assert not verify([KEY.public_key()], b"payload", signature)


@pytest.mark.parametrize("text", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_refused_without_quoting_it(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    for read in (private_key, public_key):
        with pytest.raises(SigningError, match="`faultline keys new` makes one") as caught:
            read(path)
        assert "AAAA" not in str(caught.value)


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(rsa_key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(SigningError, match="another kind"):
        private_key(path)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    path.write_bytes(curve.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SigningError, match="another kind"):
        public_key(path)


def test_a_public_key_given_for_the_private_one_is_refused(tmp_path: Path) -> None:
    _, public = new_keys(tmp_path)
    with pytest.raises(SigningError, match="is not an unencrypted private key"):
        private_key(public)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=r"nowhere.*cannot be read: No such file"):
        public_key(tmp_path / "nowhere")


def test_the_command_makes_keys_and_says_what_to_set(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faultline", "keys", "new", str(tmp_path / "keys")]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert f"FAULTLINE_MODEL_PRIVATE_KEY={tmp_path}/keys/faultline-model.key" in first.stdout
    assert f"FAULTLINE_MODEL_PUBLIC_KEYS={tmp_path}/keys/faultline-model.pub" in first.stdout
    assert (tmp_path / "keys" / "faultline-model.key").read_text().splitlines()[1] not in first.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith("faultline: ")
    assert len(again.stderr.splitlines()) == 1
