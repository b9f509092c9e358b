"""Fixed baselines: what a network must beat to be worth its trouble. They never change with the data under test.

A baseline is a function of windows float32 (k, samples, channels) and, for each, the first cycle of its record,
of the same shape, which is before anything happens. It returns the class indices (k,).
"""

from domains.powerline.baselines.logistic import logistic
from domains.powerline.baselines.openxda import openxda
from training.data.classifier import Baseline

__all__ = ["BASELINES", "logistic", "openxda"]

BASELINES: dict[str, Baseline] = {"openxda": openxda, "logistic": logistic}
