"""How much of the field is kept, and for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024
DAY_S = 86_400.0


class Limits(BaseModel):
    """Bounds of the store, per spec, on the disk. Age counts from the arrival of a window, not from its own time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept_bytes: int = Field(256 * MIB, ge=1, description="Labelled windows; some 350,000 of 32 x 6 values.")
    kept_s: float = Field(365 * DAY_S, gt=0, description="A labelled fault is rare: a year of them.")
    marked_bytes: int = Field(128 * MIB, ge=1, description="Unlabelled windows near an event.")
    marked_s: float = Field(30 * DAY_S, gt=0, description="As long as its events stay on their topics.")
    ring_bytes: int = Field(256 * MIB, ge=1, description="All other unlabelled windows; 25 lines send 3.8 MB a second.")
    ring_s: float = Field(DAY_S, gt=0, description="As long as windows stay on their topic.")
    segment_windows: int = Field(8192, ge=1, description="Windows in a file: about 6 MB.")

    def bytes(self, tier: Literal["kept", "marked", "ring"]) -> int:
        """Most bytes of a tier."""
        return {"kept": self.kept_bytes, "marked": self.marked_bytes, "ring": self.ring_bytes}[tier]

    def age_s(self, tier: Literal["kept", "marked", "ring"]) -> float:
        """Longest stay in a tier."""
        return {"kept": self.kept_s, "marked": self.marked_s, "ring": self.ring_s}[tier]
