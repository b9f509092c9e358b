"""Errors of data sets and of training. Every message says what to do next."""

from model.errors import FaultlineError


class TrainingError(FaultlineError):
    """Training was asked for something that it cannot do."""


class DataSetError(FaultlineError):
    """A data set cannot be read, or does not hold what its name promises."""
