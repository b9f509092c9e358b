"""Run a model on windows: compiled for the CPU or the accelerator, warmed up, split over the cores."""

from model.engine.device import Copied, DeviceMemories
from model.engine.engine import CPU_BUCKETS, Engine
from model.engine.plan import cut

__all__ = ["CPU_BUCKETS", "Copied", "DeviceMemories", "Engine", "cut"]
