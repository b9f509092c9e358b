"""Follow fault events as they are published, and act on those you care about.

Start a broker and a worker first, then run it:

    faultline broker --port-file broker.txt &
    export FAULTLINE_BROKER=$(cat broker.txt)     # or the address of your own Kafka, such as kafka-1:9092
    faultline worker &
    python examples/subscribe.py             # faults of every type
    python examples/subscribe.py lg llg      # line-to-ground and line-to-line-to-ground faults only

It prints a line when a fault begins and one when it clears, until it is interrupted with Ctrl-C. Events that were
published earlier are not read: replace "latest" by "earliest" below for all that the topics still hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime

import faultline


async def follow(types: list[str]) -> None:
    """Print onsets and clears of the chosen fault types (all without a choice), each once."""
    settings = faultline.load_settings()
    topics = faultline.fault_topics(settings, types)
    wanted = faultline.EventFilter(states=("onset", "clear"))  # an update says that the class of a fault changed
    async with faultline.EventFeed(settings, topics, faultline.StartAt("latest")) as feed:
        async for received in feed:
            if wanted.wants(received.event):
                on_event(received.event)


def on_event(event: faultline.FaultEvent) -> None:
    """Act on one event. Yours could send a message, open a ticket or write to a database."""
    at = datetime.fromtimestamp(event.inception_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    if event.state == "onset":
        print(f"{event.line}: {event.fault_class} since {at}, confidence {event.confidence:.1%}", flush=True)
    else:
        print(f"{event.line}: {event.fault_class} cleared after {event.duration_s:.3f} s", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(follow(sys.argv[1:]))
