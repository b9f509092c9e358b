"""Base classes of immutable values: pydantic models that refuse unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["FiniteModel", "FrozenModel"]


class FrozenModel(BaseModel):
    """An immutable value; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FiniteModel(FrozenModel):
    """An immutable value without NaN and infinity, so that its JSON is valid."""

    model_config = ConfigDict(allow_inf_nan=False)
