"""The windows that a label covers, and the precedence of two labels."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from model.spec import load_spec
from stream.contract import NS_PER_S, WindowLabel
from training.errors import TrainingError
from training.sidecar.store.labels import apply_label, class_index, covered_starts, given_ns

SPEC = load_spec("line")


def label(first_ns: int, last_ns: int, at_s: int) -> WindowLabel:
    at = datetime.fromtimestamp(at_s, UTC)
    return WindowLabel(
        label_id="1", line="a", spec="line", fault_class="AG", first_ns=first_ns, last_ns=last_ns, by="me", at=at
    )


def test_a_fault_s_windows_end_in_it_and_no_fault_s_windows_show_it() -> None:
    starts = np.arange(0, 2 * NS_PER_S, 5_000_000)  # a window every quarter of a cycle
    last_sample, end = starts + 31 * NS_PER_S // 1600, starts + 32 * NS_PER_S // 1600
    inception, clearing = NS_PER_S // 2, NS_PER_S
    first, last = covered_starts(inception, clearing, SPEC, 1600.0, fault=True)
    about = (starts >= first) & (starts <= last)
    assert np.array_equal(about, (last_sample >= inception) & (last_sample < clearing))
    first, last = covered_starts(inception, clearing, SPEC, 1600.0, fault=False)
    about = (starts >= first) & (starts <= last)
    assert np.array_equal(about, (end > inception) & (starts < clearing) & (last_sample >= inception))


def test_the_later_label_stays_and_a_window_s_own_label_gives_way() -> None:
    starts, labels, given = np.arange(6), np.array([-1, 0, 2, 2, -1, -1], np.int16), np.zeros(6, np.int64)
    about = apply_label(label(1, 3, at_s=10), 1, starts, labels, given)
    assert about.tolist() == [False, True, True, True, False, False]
    apply_label(label(3, 4, at_s=5), 5, starts, labels, given)
    assert labels.tolist() == [-1, 1, 1, 1, 5, -1]
    assert given.tolist() == [0, 10 * NS_PER_S, 10 * NS_PER_S, 10 * NS_PER_S, 5 * NS_PER_S, 0]


def test_a_label_s_time_is_exact_and_never_that_of_no_operator() -> None:
    exact = label(0, 0, 0).model_copy(update={"at": datetime(2026, 1, 1, 0, 0, 0, 123457, UTC)})
    assert given_ns(exact) == 1_767_225_600_123_457_000
    assert given_ns(label(0, 0, 0)) == 1


def test_classes_are_the_spec_s_and_none_is_in_every_spec() -> None:
    assert class_index("ABCG", SPEC) == 11
    assert class_index("none", load_spec("instant")) == 0
    with pytest.raises(TrainingError, match="use none, LG, LL AB"):
        class_index("AG", load_spec("instant"))


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(TrainingError, match="must end after it begins"):
        covered_starts(5, 5, SPEC, 1600.0, fault=True)
    with pytest.raises(ValueError, match="last_ns must not be before first_ns"):
        label(5, 4, 0)
