"""What becomes of requests for a retraining: one runs at a time, and what arrives meanwhile is merged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from stream.contract import RetrainOptions, RetrainReason, RetrainRequest

# A request is repeated within seconds, when its sender or the trainer was killed; these are years of them.
REMEMBERED = 500

Answer = Literal["next", "merged", "known"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Model):
    """One retraining and all requests that it serves, the one that caused it first."""

    run_id: str
    requests: tuple[RetrainRequest, ...]

    @property
    def spec(self) -> str:
        """Name of the spec to train."""
        return self.requests[0].spec

    @property
    def reason(self) -> RetrainReason:
        """Why it runs: the first request's reason."""
        return self.requests[0].reason

    @property
    def request_ids(self) -> list[str]:
        """Ids of the requests that it serves."""
        return [request.request_id for request in self.requests]

    @property
    def options(self) -> RetrainOptions:
        """What was asked for; where requests differ, the latest one that says something."""
        return merged_options([request.options for request in self.requests])

    def with_request(self, request: RetrainRequest) -> Self:
        """The same retraining, serving one request more."""
        return self.model_copy(update={"requests": (*self.requests, request)})


class Desk(_Model):
    """Where requests stand. Each step returns a new desk, so that it is kept before it counts.

    While a retraining runs, a request that arrives waits for one follow-up, which serves all that wait: the one under
    way began without the labels that came since. A *scheduled* request is served by the one under way, since all it
    asks is that one has been; else a schedule shorter than a retraining would have the trainer never rest.
    """

    running: Run | None = None
    waiting: Run | None = None
    known: tuple[str, ...] = ()

    def receive(self, request: RetrainRequest, new_run_id: str) -> tuple[Desk, Run | None, Answer]:
        """Take a request.

        Args:
            request: for our spec.
            new_run_id: used when it is the first to wait.

        Returns:
            The desk after it, the retraining that serves it, and the answer: "next" (it runs as soon as nothing else
            does), "merged" (it is served together with others, or after what runs) or "known" (it was received
            before; nothing changes, and there is no retraining to tell of).
        """
        if request.request_id in self.known:
            return self, None, "known"
        known = (*self.known, request.request_id)[-REMEMBERED:]
        if self.running is not None and request.reason == "schedule":
            running = self.running.with_request(request)
            return self.model_copy(update={"running": running, "known": known}), running, "merged"
        if self.waiting is not None:
            waiting = self.waiting.with_request(request)
        else:
            waiting = Run(run_id=new_run_id, requests=(request,))
        answer: Answer = "next" if self.running is None and self.waiting is None else "merged"
        return self.model_copy(update={"waiting": waiting, "known": known}), waiting, answer

    def begin(self) -> Desk:
        """What waits runs. The desk itself where something runs already or nothing waits."""
        if self.running is not None or self.waiting is None:
            return self
        return self.model_copy(update={"running": self.waiting, "waiting": None})

    def finish(self) -> Desk:
        """Nothing runs any more."""
        return self.model_copy(update={"running": None})


def merged_options(options: Sequence[RetrainOptions]) -> RetrainOptions:
    """Return the options of several requests as one: of every option the latest value that is given.

    Example:
        >>> merged_options([RetrainOptions(epochs=3, seed=1), RetrainOptions(epochs=5)])
        RetrainOptions(epochs=5, episodes=None, seed=1)
    """
    given = {name: value for one in options for name, value in one.model_dump(exclude_none=True).items()}
    return RetrainOptions(**given)
