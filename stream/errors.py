"""Errors of the stream: settings, brokers, topics, records. Every message says what to do next."""

from model.errors import FaultlineError


class SettingsError(FaultlineError):
    """A setting is wrong; the message names it and what is allowed."""

    exit_status = 2


class ContractError(FaultlineError):
    """Something does not keep the contract of its topic."""


class RecordingError(FaultlineError):
    """A recording cannot be read or written."""


class WorkerError(FaultlineError):
    """The worker cannot go on; nothing unconfirmed was committed."""
