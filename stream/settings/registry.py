"""Settings of models that come by topic: whom workers trust, who signs, how large one may be, how many are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class RegistrySettings(BaseSettings):
    """Fields of ``stream.settings.Settings`` for the topic ``models``."""

    model_public_keys: str | None = Field(
        None,
        description="Files of the public keys whose models are taken, separated by commas; "
        "a model that none of them signed is refused. Every model is taken when unset.",
    )
    model_private_key: Path | None = Field(
        None, description="File of the private key that promoted models are signed with."
    )
    model_max_bytes: int = Field(
        1_000_000,
        ge=1024,
        le=100_000_000,
        description="A larger artefact is refused unread; about fifteen times the shipped one.",
    )
    model_archive: int = Field(
        20, ge=1, le=1000, description="Promoted models kept on the topic to go back to; the oldest goes first."
    )

    @field_validator("model_public_keys")
    @classmethod
    def _public_keys_are_files(cls, value: str | None) -> str | None:
        files = _files(value)
        for file in files:
            if not file.is_file():
                raise ValueError(f"{str(file)!r} is no file: faultline keys new makes keys")
        return value if files else None

    @field_validator("model_private_key")
    @classmethod
    def _private_key_is_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{str(value)!r} is no file: faultline keys new makes keys")
        return value

    @property
    def model_public_key_files(self) -> tuple[Path, ...]:
        """Return the files of the public keys; none when every model is taken."""
        return _files(self.model_public_keys)


def _files(value: str | None) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in (value or "").split(",") if part.strip())
