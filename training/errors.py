"""Errors of data sets and of training. Every message says what to do next."""

from model.errors import FaultlineError


class TrainingError(FaultlineError):
    """Training was asked for something that it cannot do."""


class DataSetError(FaultlineError):
    """A data set cannot be read, or does not hold what its name promises."""


class StoreError(FaultlineError):
    """The store of labelled windows cannot be read or written."""
