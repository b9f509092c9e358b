"""Define the errors of data sets and of training. Every message says what to do next."""

from model.errors import FaultlineError


class TrainingError(FaultlineError):
    """A training or an evaluation cannot be done as requested."""


class DataSetError(FaultlineError):
    """A data set cannot be read, or its contents do not match its name."""


class StoreError(FaultlineError):
    """The store of labelled windows cannot be read or written."""
