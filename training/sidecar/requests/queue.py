"""The queue of retraining requests: one retraining runs at a time, requests that arrive meanwhile are merged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from model.frozen import FrozenModel
from stream.contract import RetrainOptions, RetrainReason, RetrainRequest

# A request is repeated within seconds, when its sender or the sidecar was killed; 500 requests are years of them.
MAX_KNOWN = 500

Answer = Literal["next", "merged", "known"]


class Run(FrozenModel):
    """One retraining and all requests that it serves, the one that caused it first."""

    run_id: str
    requests: tuple[RetrainRequest, ...]

    @property
    def spec(self) -> str:
        """Name of the spec to train."""
        return self.requests[0].spec

    @property
    def reason(self) -> RetrainReason:
        """Reason of the first request."""
        return self.requests[0].reason

    @property
    def request_ids(self) -> list[str]:
        """Ids of the requests that it serves."""
        return [request.request_id for request in self.requests]

    @property
    def options(self) -> RetrainOptions:
        """Options of all requests; where they differ, the latest request that gives a value counts."""
        return merged_options([request.options for request in self.requests])

    def with_request(self, request: RetrainRequest) -> Self:
        """Return the same retraining, serving one request more."""
        return self.model_copy(update={"requests": (*self.requests, request)})


class RetrainQueue(FrozenModel):
    """The retraining that runs, the one that waits, and the requests received so far.

    Each step returns a new queue, so that it can be written before it takes effect.

    While a retraining runs, a request that arrives waits for one follow-up, which serves all waiting requests: the
    running one began without the labels that came since. A *scheduled* request is served by the running retraining,
    since it asks only that one takes place; else, with a schedule shorter than a retraining, the sidecar would never
    rest.
    """

    running: Run | None = None
    waiting: Run | None = None
    known: tuple[str, ...] = ()

    def receive(self, request: RetrainRequest, new_run_id: str) -> tuple[RetrainQueue, Run | None, Answer]:
        """Add a request.

        Args:
            request: for the sidecar's spec.
            new_run_id: id of the follow-up where this request is the first to wait.

        Returns:
            The new queue, the retraining that serves the request, and the answer: "next" (it runs as soon as nothing
            else does), "merged" (it is served together with others, or after the running one) or "known" (it was
            received before: nothing changes, and the retraining is None).
        """
        if request.request_id in self.known:
            return self, None, "known"
        known = (*self.known, request.request_id)[-MAX_KNOWN:]
        if self.running is not None and request.reason == "schedule":
            running = self.running.with_request(request)
            return self.model_copy(update={"running": running, "known": known}), running, "merged"
        if self.waiting is not None:
            waiting = self.waiting.with_request(request)
        else:
            waiting = Run(run_id=new_run_id, requests=(request,))
        answer: Answer = "next" if self.running is None and self.waiting is None else "merged"
        return self.model_copy(update={"waiting": waiting, "known": known}), waiting, answer

    def begin(self) -> RetrainQueue:
        """Start the waiting retraining; return the queue itself where one runs already or none waits."""
        if self.running is not None or self.waiting is None:
            return self
        return self.model_copy(update={"running": self.waiting, "waiting": None})

    def finish(self) -> RetrainQueue:
        """Remove the running retraining."""
        return self.model_copy(update={"running": None})


def merged_options(options: Sequence[RetrainOptions]) -> RetrainOptions:
    """Return the options of several requests as one: of every option the latest value that is given.

    Example:
        >>> merged_options([RetrainOptions(epochs=3, seed=1), RetrainOptions(epochs=5)])
        RetrainOptions(epochs=5, episodes=None, seed=1)
    """
    given = {name: value for one in options for name, value in one.model_dump(exclude_none=True).items()}
    return RetrainOptions(**given)
