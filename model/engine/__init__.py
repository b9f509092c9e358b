"""Run a model on windows: compiled for the processor or the accelerator, warmed, split over the cores."""

from model.engine.engine import CPU_BUCKETS, Engine, cut

__all__ = ["CPU_BUCKETS", "Engine", "cut"]
