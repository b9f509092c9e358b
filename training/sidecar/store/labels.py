"""Apply operators' labels: find the windows that a label covers, and decide between two labels on a window. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S, WindowLabel
from training.errors import TrainingError

NO_FAULT = "none"  # stands for no fault in every spec, whatever name the spec's own no-fault class has
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def class_index(name: str, spec: SignalSpec) -> int:
    """Return the index of a class in ``spec``; "none" is the no-fault class in every spec.

    Raises:
        TrainingError: if there is no such class; the message lists the classes.

    Example:
        >>> from model.spec import load_spec
        >>> class_index("none", load_spec("instant")), class_index("AG", load_spec("line"))
        (0, 1)
    """
    if name in spec.class_names:
        return spec.class_names.index(name)
    if name == NO_FAULT:
        return spec.none_index
    known = [n for n in spec.class_names if n != spec.class_names[spec.none_index]]
    raise TrainingError(f"spec {spec.name!r} has no class {name!r}: use {NO_FAULT}, {', '.join(known)}")


def covered_starts(inception_ns: int, end_ns: int, spec: SignalSpec, rate_hz: float, *, fault: bool) -> tuple[int, int]:
    """Return the range of window starts that a label on an episode covers, both ends included, Unix ns.

    The class of a window is that of its last sample. A label of a fault therefore covers the windows that end between
    inception and clearing; a label of no fault covers every window that contains a part of the episode.

    Args:
        inception_ns: Unix time of the first faulty sample.
        end_ns: Unix time of the first sample after the episode.
        spec: spec of the windows, for their length.
        rate_hz: sampling rate, Hz.
        fault: True if the label is a fault class.

    Raises:
        TrainingError: if the end is not after the inception.
    """
    if end_ns <= inception_ns:
        raise TrainingError("a label's range must end after it begins: give a later end")
    before_last = round((spec.samples - 1) * NS_PER_S / rate_hz)
    return max(0, inception_ns - before_last), max(0, end_ns - 1 - (before_last if fault else 0))


def given_ns(label: WindowLabel) -> int:
    """Return the time of a label, Unix ns; at least 1, since 0 stands for no label by an operator."""
    since = label.at - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return max(1, microseconds * 1000)


def apply_label(
    label: WindowLabel,
    fault_class: int,
    start_ns: NDArray[np.int64],
    labels: NDArray[np.int16],
    operator_ns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Apply a label to windows of its line in place; a window that has a later label keeps the later one.

    Args:
        label: label of an operator.
        fault_class: index of its class.
        start_ns: Unix time of the windows, (n,).
        labels: class index of every window, −1 for none, (n,); changed in place.
        operator_ns: time of the operator's label, 0 if the label came with the window, (n,); changed in place.

    Returns:
        A mask bool (n,) of the windows that the label covers.
    """
    covered = (start_ns >= label.first_ns) & (start_ns <= label.last_ns)
    given = given_ns(label)
    newer = covered & (given >= operator_ns)
    labels[newer], operator_ns[newer] = fault_class, given
    return np.asarray(covered)
