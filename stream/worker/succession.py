"""Hold the model in use, and let its successor follow the same windows until the successor is warm.

The memory of one model means nothing to another. A successor with a memory therefore begins cold beside the model in
use: it follows every micro-batch after that model has answered it. When it is warm, or after ``WARMING_S``, it takes
over between two micro-batches. A swap to or from a model without a memory takes effect at once, and so does a swap
before the first window, since there is no memory to lose.

The successor never delays the answers of a micro-batch, since they are on their way to the tracking stage before it
follows. The next micro-batch waits for it, so a worker needs twice the time per window while the warm-up lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.detection.classify import Classifier
from stream.detection.following import Following
from stream.detection.warmth import Warmth
from stream.worker.micro_batch import ClassifiedPart

WARMING_S = 5.0
"""Longest warm-up. Lines that send all the time are warm within a second, also when the worker has fallen behind.

A line that sends too rarely to be warm by then would not be warm much later either, and the model in use may be
withdrawn because it is bad."""


@dataclass(frozen=True, slots=True)
class SwapEnd:
    """End of a successor's warm-up.

    Attributes:
        in_use: True if the successor has taken over; False if it was dropped.
        error: exception of a successor that failed while it followed.
        lines: number of lines with windows during the warm-up.
        cold_lines: number of those lines that are not yet warm.
        followed_from: offset of the first record that the successor followed, by partition.
    """

    in_use: bool
    error: Exception | None = None
    lines: int = 0
    cold_lines: int = 0
    followed_from: Mapping[int, int] = field(default_factory=dict)


OnSwapEnd = Callable[[SwapEnd], None]
"""Function that is called once, when a successor takes over or is dropped; it must not raise."""


class _Successor:
    """A model on its way to take over."""

    def __init__(self, following: Following, on_end: OnSwapEnd) -> None:
        self.on_end = on_end
        self.overdue = False
        self._following = following
        self._warmth = Warmth()
        self._followed_from: dict[int, int] = {}
        self._assignment = -1

    @property
    def following(self) -> Following:
        """Return the model with its memories."""
        return self._following

    @property
    def is_due(self) -> bool:
        """Return True if it must take over before the next micro-batch."""
        return self.overdue or self._warmth.is_warm

    async def follow(self, parts: Sequence[ClassifiedPart], assignment: int) -> None:
        """Follow the windows of a micro-batch on another thread; raise what the engine raises."""
        ordered = [part.ordered for part in parts]
        call = self._following.begin([part.decoded for part in parts], ordered)
        await asyncio.get_running_loop().run_in_executor(None, call.compute)
        self._following.end(call)
        if assignment != self._assignment:
            # The slots of lines belong to an assignment, and every line begins cold after it.
            self._assignment = assignment
            self._warmth.forget()
            self._followed_from.clear()
        self._warmth.advance(ordered)
        for part in parts:
            self._followed_from.setdefault(part.fetched.partition.partition, part.fetched.first)

    def ended(self, *, in_use: bool, error: Exception | None = None) -> SwapEnd:
        """Return the end of this successor."""
        warmth = self._warmth
        return SwapEnd(in_use, error, warmth.lines, warmth.cold_lines, dict(self._followed_from))


class Succession:
    """The model in use and, during a warm-up, its successor. All methods are called in the event loop.

    Args:
        engine: the first model.
        none_index: index of the no-fault class.
        classes: number of classes.
    """

    def __init__(self, engine: Classifier, none_index: int, classes: int) -> None:
        self._none_index, self._classes = none_index, classes
        self._in_use = self._following_of(engine)
        self._successor: _Successor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._assignment = 0
        self._in_batch = False
        """True from the choice of a micro-batch's model until the successor has followed the micro-batch."""

    @property
    def engine(self) -> Classifier:
        """Return the model in use."""
        return self._in_use.engine

    def swap(self, engine: Classifier, on_end: OnSwapEnd) -> bool:
        """Let another model take over, at once or when it is warm; return True if it takes over at once.

        A successor that is still warming up is dropped.

        Args:
            engine: the successor; ``follow`` may be called on another thread.
            on_end: called when the successor takes over or is dropped, possibly before this method returns.
        """
        self.keep()
        following = self._following_of(engine)
        if not (engine.memory_units and self._in_use.has_memories):
            self._in_use = following
            on_end(SwapEnd(in_use=True))
            return True
        self._successor = _Successor(following, on_end)
        self._timer = asyncio.get_running_loop().call_later(WARMING_S, self._end_warming)
        return False

    def keep(self) -> None:
        """Keep the model in use: drop a successor that is warming up."""
        if self._successor is not None:
            self._leave(in_use=False)

    def begin_batch(self, assignment: int) -> Following:
        """Return the model for the next micro-batch; ``end_batch`` must follow.

        Args:
            assignment: number of the assignment that the slots of the micro-batch's lines belong to.
        """
        self._in_batch = True
        self._assignment = assignment
        return self._in_use

    async def end_batch(self, parts: Sequence[ClassifiedPart]) -> bool:
        """Let the successor follow a micro-batch, and take over if it is due; return True if it has followed.

        Args:
            parts: the micro-batch after the model in use has answered it.
        """
        successor = self._successor
        followed = successor is not None and any(part.ordered.new for part in parts)
        if successor is not None and followed:
            try:
                await successor.follow(parts, self._assignment)
            except Exception as error:
                # Any failure here is the successor's and must not affect the model in use.
                if successor is self._successor:
                    self._leave(in_use=False, error=error)
        self._in_batch = False
        self._take_over_if_due()
        return followed

    def close(self) -> None:
        """Cancel the timer; a successor stays as it is."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_warming(self) -> None:
        if self._successor is not None:
            self._successor.overdue = True
            if not self._in_batch:
                self._take_over_if_due()

    def _take_over_if_due(self) -> None:
        if self._successor is not None and self._successor.is_due:
            self._in_use = self._successor.following
            self._leave(in_use=True)

    def _leave(self, *, in_use: bool, error: Exception | None = None) -> None:
        successor, self._successor = self._successor, None
        self.close()
        if successor is not None:
            successor.on_end(successor.ended(in_use=in_use, error=error))

    def _following_of(self, engine: Classifier) -> Following:
        return Following(engine, self._none_index, self._classes)
