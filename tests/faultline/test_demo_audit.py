"""The demo's audit: sent = answered ∪ dead-lettered, in whatever order records are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from faultline.demo.audit import DeliveryAudit

REPORT = st.tuples(st.sampled_from(["sent", "answered", "dead"]), st.integers(0, 2), st.integers(0, 9))


@given(st.lists(REPORT))
def test_lost_is_exactly_what_was_sent_and_neither_answered_nor_dead(reports: list[tuple[str, int, int]]) -> None:
    account = DeliveryAudit()
    seen: dict[str, set[tuple[str, int, int]]] = {"sent": set(), "answered": set(), "dead": set()}
    for what, partition, offset in reports:
        origin = ("sensor-windows", partition, offset)
        seen[what].add(origin)
        if what == "dead":
            account.dead(origin)
        elif what == "sent":
            account.sent(origin, windows=4, timestamp_ms=1)
        else:
            account.answered(origin, windows=4, timestamp_ms=2)
    missing = seen["sent"] - seen["answered"] - seen["dead"]
    assert account.lost == 4 * len(missing)
    assert account.outstanding == len(missing)
    assert account.records == len(seen["sent"])
    assert account.dead_lettered == len(seen["dead"])


def test_an_answer_to_fewer_windows_than_were_sent_is_a_loss() -> None:
    account = DeliveryAudit()
    account.sent(("t", 0, 0), windows=4, timestamp_ms=0)
    account.answered(("t", 0, 0), windows=3, timestamp_ms=1)
    assert account.lost == 1


def test_a_record_whose_windows_cannot_be_counted_is_lost_as_one() -> None:
    account = DeliveryAudit()
    account.sent(("t", 0, 0), windows=0, timestamp_ms=0)
    assert account.lost == 1


def test_latency_is_from_the_record_to_its_answer_in_whatever_order_they_are_seen() -> None:
    account = DeliveryAudit()
    for offset in range(100):
        if offset % 2:
            account.answered(("t", 0, offset), windows=1, timestamp_ms=1000 + offset)
            account.sent(("t", 0, offset), windows=1, timestamp_ms=1000)
        else:
            account.sent(("t", 0, offset), windows=1, timestamp_ms=1000)
            account.answered(("t", 0, offset), windows=1, timestamp_ms=1000 + offset)
    assert account.latency_ms(50) == 49.5
    assert account.latency_ms(50, last=10) == 94.5
    assert DeliveryAudit().latency_ms(50) is None
