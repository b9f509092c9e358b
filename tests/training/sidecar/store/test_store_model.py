"""In whatever order windows, labels and events come, the store agrees with a dictionary of windows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.training.sidecar.store.test_store import BEGIN_NS, HOP_NS, SPEC, operator_label
from training.sidecar.store.labels import given_ns
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.tiers import StoreLimits

CLASSES = SPEC.class_names
LINES = st.sampled_from("ab")
PLACES = st.integers(0, 40)
SPANS = st.tuples(PLACES, st.integers(0, 12)).map(lambda span: (span[0], span[0] + span[1]))
STEPS = st.one_of(
    st.tuples(st.just("add"), LINES, SPANS, st.sampled_from([None, 0, 1, 2])),
    st.tuples(st.just("label"), LINES, SPANS, st.sampled_from(["none", "AG", "BG"]), st.integers(0, 3)),
    st.tuples(st.just("event"), LINES, SPANS),
    st.tuples(st.just("flush")),
    st.tuples(st.just("reopen")),
)


@dataclass
class Window:
    """The expected state of a window."""

    label: int | None
    operator_ns: int = 0
    near_event: bool = False
    context: bool = False
    """True if a window within the context behind this one was labelled while this one was stored."""

    @property
    def tier(self) -> str:
        if self.label is not None:
            return "labelled"
        return "context" if self.context else "near_event" if self.near_event else "recent"


class Model:
    """Windows by line and number, labels and events of all times."""

    def __init__(self, context: int) -> None:
        self.context = context
        self.windows: dict[tuple[str, int], Window] = {}
        self.labels: dict[str, tuple[str, tuple[int, int], int, int]] = {}
        self.events: list[tuple[str, tuple[int, int]]] = []

    def add(self, line: str, span: tuple[int, int], label: int | None) -> int:
        new = [number for number in range(span[0], span[1] + 1) if (line, number) not in self.windows]
        for number in new:
            window = self.windows[line, number] = Window(label)
            window.near_event = any(at == line and a <= number <= b for at, (a, b) in self.events)
            for at, (a, b), index, when in self.labels.values():
                if at == line and a <= number <= b and when >= window.operator_ns:
                    window.label, window.operator_ns = index, when
        for number in new:
            if self.windows[line, number].label is not None:
                self.keep_context(line, number)
        return len(new)

    def keep_context(self, line: str, number: int) -> None:
        for window in self.of(line, (number - self.context, number - 1)):
            window.context = True

    def may_be_context(self, line: str, number: int) -> bool:
        """Return True if a labelled window or the range of a label is behind a window: it may have come late."""
        behind = self.of(line, (number + 1, number + self.context))
        labelled = any(window.label is not None for window in behind)
        return labelled or any(
            at == line and a - self.context <= number <= b for at, (a, b), _, _ in self.labels.values()
        )

    def of(self, line: str, span: tuple[int, int]) -> list[Window]:
        return [self.windows[line, n] for n in range(span[0], span[1] + 1) if (line, n) in self.windows]


def values(line: str, numbers: np.ndarray) -> np.ndarray:
    """Return windows of a wave whose values depend on line and position."""
    sample = numbers[:, None] * SPEC.hop + np.arange(SPEC.samples)
    return np.broadcast_to((sample + 10_000 * "ab".index(line))[:, :, None], (len(numbers), *SPEC.window_shape)).astype(
        np.float32
    )


@given(st.lists(STEPS, max_size=25), st.sampled_from([3, 20, 8192]), st.sampled_from([0, 3, 9]))
def test_the_store_holds_what_a_dictionary_would(steps: list[tuple[object, ...]], pending: int, context: int) -> None:
    model, limits = Model(context), StoreLimits(pending_windows=pending, context_windows=context)
    with tempfile.TemporaryDirectory() as name:
        store = LabelledStore(Path(name), limits)
        for step in steps:
            match step:
                case ("add", str(line), (int(a), int(b)), label):
                    numbers = np.arange(a, b + 1)
                    labels = None if label is None else np.full(len(numbers), label)
                    data = values(line, numbers)
                    found = store.add(line, SPEC, BEGIN_NS + numbers * HOP_NS, numbers, data, labels)
                    assert found == model.add(line, (a, b), label if isinstance(label, int) else None)
                case ("label", str(line), (int(a), int(b)), str(fault_class), int(hours)):
                    label = operator_label(fault_class, a, b, line, hours=hours, number=f"{step}")
                    result = store.apply(label)
                    covered = model.of(line, (a, b))
                    assert result.known == (label.label_id in model.labels)
                    if not result.known:
                        assert result.windows == len(covered)
                        index, when = CLASSES.index(fault_class), given_ns(label)
                        model.labels[label.label_id] = (line, (a, b), index, when)
                        for window in covered:
                            if when >= window.operator_ns:
                                window.label, window.operator_ns = index, when
                        if covered:
                            model.keep_context(line, a)
                case ("event", str(line), (int(a), int(b))):
                    first_ns, last_ns = BEGIN_NS + a * HOP_NS, BEGIN_NS + b * HOP_NS
                    kept = model.of(line, (a - context, b))
                    assert store.keep_near_event(line, SPEC, first_ns, last_ns) == len(kept)
                    model.events.append((line, (a - context, b)))
                    for window in kept:
                        window.near_event = True
                case ("flush",):
                    store.flush()
                case _:
                    store.close()
                    store = LabelledStore(Path(name), limits)
                    model.events.clear()  # ranges for windows that are still to come are in memory only
        check(store, model)
        store.close()
        with LabelledStore(Path(name), limits) as again:
            check(again, model)


def check(store: LabelledStore, model: Model) -> None:
    labelled = sorted((key, window) for key, window in model.windows.items() if window.label is not None)
    found = store.windows(SPEC)
    assert found.labels.tolist() == [window.label for _, window in labelled]
    assert found.data[:, 0, 0].tolist() == [n * SPEC.hop + 10_000 * "ab".index(line) for (line, n), _ in labelled]
    learned = []
    sequences = store.sequences(SPEC, 16)
    for wave, classes, weights in zip(sequences.data, sequences.labels, sequences.weights, strict=True):
        for step in np.flatnonzero(weights).tolist():
            line, sample = divmod(int(wave[step * SPEC.hop, 0]), 10_000)
            learned.append((("ab"[line], sample // SPEC.hop), int(classes[step])))
    assert sorted(learned) == [(key, window.label) for key, window in labelled]
    tiers = [window.tier for window in model.windows.values()]
    late = sum(
        model.may_be_context(line, number)
        for (line, number), window in model.windows.items()
        if window.tier in ("near_event", "recent")
    )
    for summary in store.summary():
        others = summary.windows["near_event"] + summary.windows["recent"]
        assert summary.windows["labelled"] == tiers.count("labelled")
        assert summary.context + others == len(tiers) - tiers.count("labelled")
        assert tiers.count("context") <= summary.context <= tiers.count("context") + late
        if not late:
            assert summary.windows["near_event"] == tiers.count("near_event")
        assert summary.by_operators == sum(window.operator_ns > 0 for window in model.windows.values())
        assert sum(summary.classes.values()) == len(labelled)
