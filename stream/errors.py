"""Errors of the stream: settings, brokers, topics, records. Every message says what to do next."""

from model.errors import FaultlineError


class SettingsError(FaultlineError):
    """A setting is wrong; the message names it and what is allowed."""

    exit_status = 2


class ContractError(FaultlineError):
    """Something does not keep the contract of its topic."""


class RecordingError(FaultlineError):
    """A recording cannot be read or written."""


class ReplayError(FaultlineError):
    """A replay could not send everything, or not confirmed."""


class WorkerError(FaultlineError):
    """The worker cannot go on; nothing unconfirmed was committed."""


class BrokerError(FaultlineError):
    """The broker cannot be used as asked."""


class BrokerUnreachableError(BrokerError):
    """Nobody answers as a Kafka broker at the address."""


class AuthenticationError(BrokerError):
    """The broker (or the token endpoint) did not accept who we say we are."""


class TlsError(BrokerError):
    """No trusted TLS connection: certificate, host name, or a side that speaks no TLS."""


class AccessDeniedError(BrokerError):
    """We are known but lack a right; the message names the ACL to grant."""


class TopicError(BrokerError):
    """Topics are missing or not as they must be."""


class KafkaServerError(FaultlineError):
    """Our own Apache Kafka (``python -m benchmarks.kafka``) cannot be started or stopped."""


class ModelRefusedError(FaultlineError):
    """A record of the topic ``models`` is not used; ``reason`` is its metric label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ModelsError(FaultlineError):
    """No such model, or one that cannot be promoted."""


class EventNotFoundError(FaultlineError):
    """No fault event of that id is on the topics (any more)."""
