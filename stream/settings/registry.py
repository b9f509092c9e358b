"""Settings of the models on the topic ``models``: trusted keys, signing key, size limit and archive."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class RegistrySettings(BaseSettings):
    """Fields of ``stream.settings.Settings`` for the topic ``models``."""

    model_public_keys: str | None = Field(
        None,
        description="Files of the trusted public keys, separated by commas. A model that none of these keys signed is "
        "refused. Every model is accepted when unset.",
    )
    model_private_key: Path | None = Field(
        None, description="File of the private key that signs promoted models; they are not signed when unset."
    )
    model_max_bytes: int = Field(
        1_000_000,
        ge=1024,
        le=100_000_000,
        description="Largest artefact in bytes that a worker reads from the topic; a larger one is refused unread. "
        "The default is about fifteen times the size of the shipped artefact.",
    )
    model_archive: int = Field(
        20,
        ge=1,
        le=1000,
        description="Promoted models that are kept on the topic for a rollback; beyond this number the oldest is "
        "removed.",
    )

    @field_validator("model_public_keys")
    @classmethod
    def _public_keys_are_files(cls, value: str | None) -> str | None:
        files = _files(value)
        for file in files:
            if not file.is_file():
                raise ValueError(f"{str(file)!r} is not a file: create keys with faultline keys new")
        return value if files else None

    @field_validator("model_private_key")
    @classmethod
    def _private_key_is_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{str(value)!r} is not a file: create keys with faultline keys new")
        return value

    @property
    def model_public_key_files(self) -> tuple[Path, ...]:
        """Return the files of the public keys; none when every model is accepted."""
        return _files(self.model_public_keys)


def _files(value: str | None) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in (value or "").split(",") if part.strip())
