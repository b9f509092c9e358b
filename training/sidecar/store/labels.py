"""An operator's verdict: which windows it is about, and which of two verdicts on a window counts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import WindowLabel
from training.errors import TrainingError

NO_FAULT = "none"  # in every spec, whatever its own class of no fault is called
NS = 1_000_000_000
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


def covered(inception_ns: int, end_ns: int, spec: SignalSpec, rate_hz: float, *, fault: bool) -> tuple[int, int]:
    """Return the range of window starts that a verdict on an episode is about, both ends included.

    A window's class is that of its last sample. So the windows of a fault end between inception and clearing; a verdict
    of no fault is about every window that shows a part of the episode.

    Args:
        inception_ns: Unix time of the first faulty sample.
        end_ns: Unix time of the first sample after the episode.
        spec: length of a window.
        rate_hz: samples per second.
        fault: whether the verdict names a fault.

    Raises:
        TrainingError: the end is not after the inception.
    """
    if end_ns <= inception_ns:
        raise TrainingError("a label's range must end after it begins")
    before_last = round((spec.samples - 1) * NS / rate_hz)
    return max(0, inception_ns - before_last), max(0, end_ns - 1 - (before_last if fault else 0))


def verdict_ns(label: WindowLabel) -> int:
    """Return when a verdict was given, Unix ns and at least 1: 0 stands for no verdict."""
    since = label.at - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return max(1, microseconds * 1000)


def apply_verdict(
    label: WindowLabel,
    fault_class: int,
    start_ns: NDArray[np.int64],
    labels: NDArray[np.int16],
    verdicts_ns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Give a verdict to windows of its line, in place; of two verdicts on a window the later one stays.

    Args:
        label: the verdict.
        fault_class: index of its class.
        start_ns: of the windows, (n,).
        labels: class index of every window, −1 where none is known, (n,).
        verdicts_ns: when the label was given, 0 where it came with the window, (n,).

    Returns:
        bool (n,), which windows the verdict is about.
    """
    about = (start_ns >= label.first_ns) & (start_ns <= label.last_ns)
    given = verdict_ns(label)
    newer = about & (given >= verdicts_ns)
    labels[newer], verdicts_ns[newer] = fault_class, given
    return np.asarray(about)
