"""Store the state of a line between windows: small and serialisable, so that tracking continues after a restart."""

from __future__ import annotations

import hashlib

import msgspec

from model.spec import SignalSpec
from stream.errors import ContractError

VERSION = 2
READABLE = (1, 2)
"""Versions that this code reads. A state of version 1 has no memory."""


class RecentWindow(msgspec.Struct, array_like=True):
    """One of the last n windows: its class and, if it is faulty, the data that an onset needs."""

    fault_class: int
    sequence: int
    start_ns: int
    inception_ns: int
    """Estimated inception (Unix ns) if the fault began in this window; 0 if no onset can need it."""
    probabilities: list[float]
    """Probability of every class; empty for a quiet window."""


class OpenEpisode(msgspec.Struct, array_like=True):
    """Episode between its onset and its clear."""

    episode_id: str
    fault_class: int
    inception_ns: int
    last_fault_end_ns: int
    """End of the last faulty window, Unix ns."""
    quiet: int = 0
    """Number of consecutive quiet windows."""
    rival_class: int = -1
    """Class that the last faulty windows have instead of ``fault_class``; -1 for none."""
    rivals: int = 0
    """Number of consecutive windows with the rival class."""
    rival_probabilities: list[float] = []
    """Sum of the probabilities of these windows."""
    quality: list[str] = []


class LineState(msgspec.Struct, array_like=True):
    """State of one line. ``sequence`` and ``start_ns`` are those of the last tracked window."""

    version: int = VERSION
    sequence: int = -1
    start_ns: int = -1
    recent: list[RecentWindow] = []
    episode: OpenEpisode | None = None
    flags: list[str] = []
    """Quality flags since the line was last idle."""
    restored: bool = False
    """True if windows may have passed since this state was written, because idle lines are not always written."""
    spec: str = ""
    """Key of the spec that the class indices refer to, see ``spec_key``."""
    memory: bytes = b""
    """Memory of the model after the last tracked window, float32 little endian; empty for cold."""
    memory_of: str = ""
    """Id of the model that the memory belongs to; empty if the state was written without a memory."""

    @property
    def idle(self) -> bool:
        """Return True if dropping everything except the sequence number would change no later event."""
        # This runs for every line in every micro-batch, and nearly always ``recent`` is empty.
        return self.episode is None and (not self.recent or not any(window.probabilities for window in self.recent))


def spec_key(spec: SignalSpec) -> str:
    """Return the spec's name and a digest of its classes; specs with the same key can share line states."""
    classes = hashlib.blake2b("\x1f".join(spec.class_names).encode(), digest_size=4).hexdigest()
    return f"{spec.name}:{classes}"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LineState).decode


def encode_state(state: LineState) -> bytes:
    """Return a state as a value of ``line-states``."""
    return _encode(state)


def decode_state(value: bytes) -> LineState:
    """Return the state that ``encode_state`` wrote, marked as restored.

    Raises:
        ContractError: the value is not a line state of a readable version.
    """
    try:
        state = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"not a line state: {error}") from None
    if state.version not in READABLE:
        raise ContractError(f"the line state has version {state.version}, but this worker reads versions 1 and 2")
    state.version, state.restored = VERSION, True
    return state
