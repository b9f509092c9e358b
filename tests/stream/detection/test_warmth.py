"""The numbers of windows that a model has followed on each line since it began."""

from __future__ import annotations

from model.spec import load_spec
from stream.detection.decode import decode_batch
from stream.detection.order import Ordered, Positions
from stream.detection.warmth import Warmth
from tests.stream.doubles import marked_record

SPEC = load_spec("line")


class Source:
    """Windows of lines in the order of one partition."""

    def __init__(self) -> None:
        self.positions = Positions(SPEC)
        self.at: dict[str, int] = {}

    def send(self, *counts: tuple[str, int]) -> Ordered:
        """Return the order of a batch with these numbers of windows, which follow their lines' last ones."""
        records = []
        for line, count in counts:
            records.append(marked_record(line, [0] * count, SPEC, sequence=self.at.get(line, 0)))
            self.at[line] = self.at.get(line, 0) + count
        return self.positions.order(decode_batch(records, SPEC, max_bytes=1 << 20), {})


def test_all_lines_must_be_warm() -> None:
    source, warmth = Source(), Warmth(4)
    assert not warmth.is_warm
    warmth.advance([source.send(("a", 3), ("b", 4))])
    assert (warmth.is_warm, warmth.lines, warmth.cold_lines) == (False, 2, 1)
    warmth.advance([source.send(("a", 1))])
    assert (warmth.is_warm, warmth.lines, warmth.cold_lines) == (True, 2, 0)
    warmth.advance([source.send(("c", 1))])
    assert (warmth.is_warm, warmth.lines, warmth.cold_lines) == (False, 3, 1)


def test_several_records_and_batches_count_together() -> None:
    source, warmth = Source(), Warmth(4)
    warmth.advance([source.send(("a", 1), ("b", 2), ("a", 1)), source.send(("b", 2), ("a", 2))])
    assert warmth.is_warm


def test_a_line_that_was_followed_by_another_model_begins_at_nought() -> None:
    source, warmth = Source(), Warmth(4)
    source.send(("a", 100))
    warmth.advance([source.send(("a", 3))])
    assert not warmth.is_warm
    warmth.advance([source.send(("a", 1))])
    assert warmth.is_warm


def test_a_gap_makes_a_line_cold_also_within_a_batch() -> None:
    source, warmth = Source(), Warmth(4)
    warmth.advance([source.send(("a", 9))])
    assert warmth.is_warm
    source.at["a"] += 5
    warmth.advance([source.send(("a", 3))])
    assert not warmth.is_warm
    warmth.advance([source.send(("a", 1))])
    assert warmth.is_warm
    first, last = marked_record("a", [0] * 9, SPEC, sequence=18), marked_record("a", [0] * 3, SPEC, sequence=40)
    warmth.advance([source.positions.order(decode_batch([first, last], SPEC, max_bytes=1 << 20), {})])
    assert not warmth.is_warm


def test_repeated_windows_do_not_count() -> None:
    source, warmth = Source(), Warmth(4)
    warmth.advance([source.send(("a", 3))])
    for _ in range(5):
        source.at["a"] = 0
        warmth.advance([source.send(("a", 3))])
    assert (warmth.is_warm, warmth.lines) == (False, 1)


def test_forgotten_lines_keep_nothing_cold() -> None:
    source, warmth = Source(), Warmth(4)
    warmth.advance([source.send(("a", 1), ("b", 9))])
    warmth.forget()
    assert (warmth.is_warm, warmth.lines) == (False, 0)
    warmth.advance([Source().send(("c", 4))])
    assert warmth.is_warm
