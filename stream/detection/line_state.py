"""The memory of a line between windows: small, serialisable, enough to continue after a kill or a rebalance."""

from __future__ import annotations

import hashlib

import msgspec

from model.spec import SignalSpec
from stream.errors import ContractError

VERSION = 1


class RecentWindow(msgspec.Struct, array_like=True):
    """One of the last n windows: its class and, if faulty, what an onset needs of it."""

    fault_class: int
    sequence: int
    start_ns: int
    inception_ns: int
    """Estimated inception if the fault began in this window; 0 where no onset can ask for it."""
    probabilities: list[float]
    """Of every class; empty for a quiet window."""


class OpenEpisode(msgspec.Struct, array_like=True):
    """An episode between its onset and its clear."""

    episode_id: str
    fault_class: int
    inception_ns: int
    last_fault_end_ns: int
    """Time after the last sample of the last faulty window."""
    quiet: int = 0
    """Quiet windows in a row."""
    rival_class: int = -1
    """Another class that the last faulty windows agreed on."""
    rivals: int = 0
    """How many of them in a row."""
    rival_probabilities: list[float] = []
    """Sum of their probabilities."""
    quality: list[str] = []


class LineState(msgspec.Struct, array_like=True):
    """State of one line. ``sequence`` and ``start_ns`` are the last tracked window's."""

    version: int = VERSION
    sequence: int = -1
    start_ns: int = -1
    recent: list[RecentWindow] = []
    episode: OpenEpisode | None = None
    flags: list[str] = []
    """Quality flags since the line was last idle."""
    restored: bool = False
    """True where windows may have passed since this state was written: idle lines are not written every time."""
    spec: str = ""
    """Name and classes of the spec that the class indices are of, see ``spec_key``."""

    @property
    def idle(self) -> bool:
        """True when forgetting everything but the sequence would change no later event."""
        # This runs for every line in every micro-batch, and nearly always there is nothing to look through.
        return self.episode is None and (not self.recent or not any(window.probabilities for window in self.recent))


def spec_key(spec: SignalSpec) -> str:
    """Return the name and a digest of the classes: two specs that share them can share line states."""
    classes = hashlib.blake2b("\x1f".join(spec.class_names).encode(), digest_size=4).hexdigest()
    return f"{spec.name}:{classes}"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LineState).decode


def encode_state(state: LineState) -> bytes:
    """Return the value of ``line-states``."""
    return _encode(state)


def decode_state(value: bytes) -> LineState:
    """Return the state that ``encode_state`` wrote, marked as restored.

    Raises:
        ContractError: the value is not a line state of this version.
    """
    try:
        state = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"not a line state: {error}") from None
    if state.version != VERSION:
        raise ContractError(f"line state of version {state.version}; this worker knows {VERSION}")
    state.restored = True
    return state
