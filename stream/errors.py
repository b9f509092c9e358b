"""Define the errors of settings, brokers, topics and records. Every message says what to do next."""

from model.errors import FaultlineError


class SettingsError(FaultlineError):
    """A setting is wrong; the message names it and the allowed values."""

    exit_status = 2


class ContractError(FaultlineError):
    """A record or text violates the contract of its topic."""


class RecordingError(FaultlineError):
    """A recording cannot be read or written."""


class ReplayError(FaultlineError):
    """A replay could not send all records, or the broker did not confirm all of them."""


class WorkerError(FaultlineError):
    """The worker cannot continue; it committed nothing unconfirmed."""


class BrokerError(FaultlineError):
    """The broker cannot serve the request."""


class BrokerUnreachableError(BrokerError):
    """No Kafka broker answers at the address."""


class AuthenticationError(BrokerError):
    """The broker or the token endpoint rejected the login."""


class TlsError(BrokerError):
    """There is no trusted TLS connection: wrong certificate or host name, or one side does not use TLS."""


class AccessDeniedError(BrokerError):
    """The client is authenticated but lacks a right; the message names the ACL to grant."""


class TopicError(BrokerError):
    """Topics are missing or wrongly configured."""


class KafkaServerError(FaultlineError):
    """The development broker (``python -m benchmarks.kafka``) cannot be started or stopped."""


class ModelRefusedError(FaultlineError):
    """A record of the topic ``models`` was refused; ``reason`` is its metric label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ModelsError(FaultlineError):
    """A model does not exist or cannot be promoted."""


class EventNotFoundError(FaultlineError):
    """No fault event with this id is on the topics; it may have been deleted."""
