r"""Create the files that the secure overlays need, for a trial: CA, broker certificate, users, keys for models.

    docker run --rm -i --user "$(id -u):$(id -g)" -v "$PWD/secrets:/secrets" --entrypoint python3 \
        faultline:0.2.0-cpu - /secrets < deploy/secure/prepare.py

The folder must exist and be empty; no file is overwritten. Only its owner can read the folder. All users can read the
files in it, since the containers run as other users and see only the mounted files. In production, use a CA of your own
and passwords from a vault instead.
"""

import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USERS = ("admin", "gateway", "worker", "trainer", "subscriber", "operator")
BROKER_NAMES = ("broker", "localhost", "kafka-bootstrap.kafka")
VALID = timedelta(days=90)


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_name: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    """Return a signed certificate that is valid from now on for ``VALID``."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def usage(**allowed: bool) -> x509.KeyUsage:
    """Return a key usage extension with only the named usages."""
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in the PEM form that Kafka reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a new file; raise if it exists."""
    with path.open("xb") as file:
        path.chmod(mode)
        file.write(content.encode() if isinstance(content, str) else content)


def make_certificates(folder: Path) -> None:
    """Write ``ca.pem`` for all clients and ``broker.pem``, key and certificate, for the broker."""
    ca_key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = certificate(
        "Faultline test CA",
        ca_key,
        "Faultline test CA",
        ca_key,
        [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (usage(key_cert_sign=True, crl_sign=True), True),
            (authority, False),
        ],
    )
    names = [*(x509.DNSName(name) for name in BROKER_NAMES), x509.IPAddress(ip_address("127.0.0.1"))]
    broker = certificate(
        "broker",
        broker_key,
        "Faultline test CA",
        ca_key,
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName(names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), False),
        ],
    )
    write(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM))
    # For issuing further certificates; it is mounted into no container.
    write(folder / "ca.key", pem(ca_key), 0o600)
    write(folder / "broker.pem", pem(broker_key) + broker.public_bytes(serialization.Encoding.PEM))


def make_users(folder: Path) -> None:
    """Write passwords: ``users`` for the broker's first start, ``<user>.env`` for the containers."""
    passwords = {user: secrets.token_urlsafe(24) for user in USERS}
    write(folder / "users", "".join(f"{user}={password}\n" for user, password in passwords.items()))
    for user, password in passwords.items():
        login = f"FAULTLINE_SASL_USERNAME={user}\nFAULTLINE_SASL_PASSWORD={password}\n"
        # The last two variables are for KEDA, which logs in as the worker.
        write(folder / f"{user}.env", login + "KEDA_SASL=scram_sha512\nKEDA_TLS=enable\n")


def main() -> int:
    """Create all files in the folder given as argument; return the exit status."""
    folder = Path(sys.argv[1])
    if not folder.is_dir() or any(folder.iterdir()):
        print(f"{folder} must be an empty folder: create it, or remove the files of an earlier trial", file=sys.stderr)
        return 2
    from model.artefact.signing import new_keys

    folder.chmod(0o700)
    make_certificates(folder)
    make_users(folder)
    private, _ = new_keys(folder)
    private.chmod(0o644)
    print(f"{folder}: {', '.join(sorted(one.name for one in folder.iterdir()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
