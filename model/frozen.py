"""Base classes of values: pydantic models that never change and refuse fields they do not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["FiniteModel", "FrozenModel"]


class FrozenModel(BaseModel):
    """A value that cannot be changed; a field that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FiniteModel(FrozenModel):
    """A frozen value without NaN and infinity, so that its JSON is JSON."""

    model_config = ConfigDict(allow_inf_nan=False)
