"""Define fixed baselines that a network must beat to be worth its cost. They do not depend on the data under test.

A baseline is a function of windows float32 (k, samples, channels) and of the first cycle of each window's record, which
has the same shape and precedes every event. It returns the class indices (k,).
"""

from domains.powerline.baselines.logistic import logistic
from domains.powerline.baselines.openxda import openxda
from training.data.classifier import Baseline

__all__ = ["BASELINES", "logistic", "openxda"]

BASELINES: dict[str, Baseline] = {"openxda": openxda, "logistic": logistic}
