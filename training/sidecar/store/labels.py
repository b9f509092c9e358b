"""Labels by operators: the windows that a label covers, and which of two labels on a window counts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S, WindowLabel
from training.errors import TrainingError

NO_FAULT = "none"  # in every spec, whatever the name of its own class without a fault
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def class_index(name: str, spec: SignalSpec) -> int:
    """Return the position of a class in ``spec``; "none" is the class of no fault in every spec.

    Raises:
        TrainingError: no such class; the message lists those there are.

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
    raise TrainingError(f"spec {spec.name!r} has no class {name!r}; there are {NO_FAULT}, {', '.join(known)}")


def covered_starts(inception_ns: int, end_ns: int, spec: SignalSpec, rate_hz: float, *, fault: bool) -> tuple[int, int]:
    """Return the range of window starts that a label on an episode covers, both ends included.

    A window's class is that of its last sample. So the windows of a fault end between inception and clearing; a label
    of no fault covers every window that shows a part of the episode.

    Args:
        inception_ns: Unix time of the first faulty sample.
        end_ns: Unix time of the first sample after the episode.
        spec: length of a window.
        rate_hz: samples per second.
        fault: True where the label names a fault.

    Raises:
        TrainingError: the end is not after the inception.
    """
    if end_ns <= inception_ns:
        raise TrainingError("a label's range must end after it begins")
    before_last = round((spec.samples - 1) * NS_PER_S / rate_hz)
    return max(0, inception_ns - before_last), max(0, end_ns - 1 - (before_last if fault else 0))


def given_ns(label: WindowLabel) -> int:
    """Return the time of a label, Unix ns and at least 1: 0 stands for no label by an operator."""
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
    """Give a label to windows of its line, in place; of two labels on a window the later one stays.

    Args:
        label: by an operator.
        fault_class: index of its class.
        start_ns: of the windows, (n,).
        labels: class index of every window, −1 where none is known, (n,).
        operator_ns: time of an operator's label, 0 where the label came with the window, (n,).

    Returns:
        bool (n,), the windows that the label covers.
    """
    covered = (start_ns >= label.first_ns) & (start_ns <= label.last_ns)
    given = given_ns(label)
    newer = covered & (given >= operator_ns)
    labels[newer], operator_ns[newer] = fault_class, given
    return np.asarray(covered)
