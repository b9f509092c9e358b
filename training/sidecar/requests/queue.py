"""Queue retraining requests: one retraining runs at a time, and requests that arrive meanwhile are merged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from model.frozen import FrozenModel
from stream.contract import RetrainOptions, RetrainReason, RetrainRequest

# Number of request ids that are remembered. A request is repeated only within seconds, after its sender or the sidecar
# was killed, and 500 requests take years to arrive.
MAX_KNOWN = 500

Answer = Literal["next", "merged", "known"]


class Run(FrozenModel):
    """One retraining and all requests that it serves; the request that caused it is the first."""

    run_id: str
    requests: tuple[RetrainRequest, ...]

    @property
    def spec(self) -> str:
        """Return the name of the spec to train."""
        return self.requests[0].spec

    @property
    def reason(self) -> RetrainReason:
        """Return the reason of the first request."""
        return self.requests[0].reason

    @property
    def request_ids(self) -> list[str]:
        """Return the ids of the requests that it serves."""
        return [request.request_id for request in self.requests]

    @property
    def options(self) -> RetrainOptions:
        """Return the merged options of all requests; the latest value of each option counts."""
        return merged_options([request.options for request in self.requests])

    def with_request(self, request: RetrainRequest) -> Self:
        """Return the same retraining with one more request."""
        return self.model_copy(update={"requests": (*self.requests, request)})


class RetrainQueue(FrozenModel):
    """The running retraining, the waiting one, and the requests received so far.

    Each method returns a new queue, so that the queue can be written to disk before the change takes effect.

    A request that arrives while a retraining runs waits for one follow-up, which serves all waiting requests: the
    running retraining started without the labels that arrived since. A *scheduled* request is served by the running
    retraining instead, since it only asks that a retraining takes place. Otherwise, a schedule whose interval is
    shorter than a retraining would keep the sidecar training without a pause.
    """

    running: Run | None = None
    waiting: Run | None = None
    known: tuple[str, ...] = ()

    def receive(self, request: RetrainRequest, new_run_id: str) -> tuple[RetrainQueue, Run | None, Answer]:
        """Add a request.

        Args:
            request: request for the sidecar's spec.
            new_run_id: id of the follow-up if this request is the first to wait.

        Returns:
            The new queue, the retraining that serves the request, and the answer: "next" (no retraining runs or waits,
            so this one runs next), "merged" (it is served together with others, or after the running one) or "known"
            (it was received before; nothing changes, and the retraining is None).
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
        """Start the waiting retraining; return the same queue if one is running or none waits."""
        if self.running is not None or self.waiting is None:
            return self
        return self.model_copy(update={"running": self.waiting, "waiting": None})

    def finish(self) -> RetrainQueue:
        """Remove the running retraining."""
        return self.model_copy(update={"running": None})


def merged_options(options: Sequence[RetrainOptions]) -> RetrainOptions:
    """Return the options of several requests merged into one, with the latest value of each option.

    Example:
        >>> merged_options([RetrainOptions(epochs=3, seed=1), RetrainOptions(epochs=5)])
        RetrainOptions(epochs=5, episodes=None, seed=1)
    """
    given = {name: value for one in options for name, value in one.model_dump(exclude_none=True).items()}
    return RetrainOptions(**given)
