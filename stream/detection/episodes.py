"""Track episodes per line: turn classes of windows and a state into steps of episodes and a new state. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from model.domain import domain_of
from model.spec import EpisodePolicy, SignalSpec
from stream.contract import NS_PER_S, EpisodeState, QualityFlag
from stream.detection.decode import LineWindows
from stream.detection.line_state import LineState, OpenEpisode, RecentWindow, spec_key

QUALITY_ORDER: tuple[QualityFlag, ...] = get_args(QualityFlag)


@dataclass(frozen=True, slots=True)
class EpisodeStep:
    """Step of an episode, from which ``stream.detection.events`` makes the published event."""

    line: str
    state: EpisodeState
    episode_id: str
    fault_class: int
    previous_class: int | None
    """Class before an update; None for other steps."""
    probabilities: NDArray[np.float64]
    """Mean over the windows that decided, (classes,)."""
    inception_ns: int
    detection_ns: int
    cleared_ns: int | None
    sequence: int
    start_ns: int
    rate_hz: float
    quality: tuple[QualityFlag, ...]


@dataclass(slots=True)
class TrackedRecord:
    """Result of one record for its line. Every window is counted once: in order, repeated or late."""

    state: LineState
    steps: list[EpisodeStep] = field(default_factory=list)
    in_order: int = 0
    repeated: int = 0
    """Windows whose sequence numbers were tracked before; they are skipped."""
    late: int = 0
    """Windows that were tracked although they are not later than the line's last: late, or the clock was set back."""


class EpisodeTracker:
    """Track episodes: m faulty windows out of n open one, `clear` quiet windows end it, a lasting change updates it.

    A change between equivalent classes of the spec is no update: such classes cannot be distinguished, and the event's
    probabilities show both.
    """

    def __init__(self, spec: SignalSpec, policy: EpisodePolicy | None = None) -> None:
        self.spec = spec
        self.policy = policy or spec.episode
        self.none = spec.none_index
        self._merged = list(spec.equivalent_indices())
        # The domain is looked up once here, since its signal is used for every faulty window.
        self._signal = domain_of(spec).signal
        self._spec_key = spec_key(spec)

    def track(
        self,
        state: LineState | None,
        entry: LineWindows,
        windows: NDArray[np.float32],
        classes: NDArray[np.intp],
        probabilities: NDArray[np.float32],
        *,
        skip: int = 0,
        break_: QualityFlag | None = None,
    ) -> TrackedRecord:
        """Track the windows of one record.

        Args:
            state: current state of the line; None for a new line. It is changed in place.
            entry: line id, first sequence, start time and rate of the windows.
            windows: float32 (n, samples, channels), per unit.
            classes: (n,), most probable class of every window.
            probabilities: float32 (n, classes), calibrated.
            skip: number of leading windows that were tracked before, fewer than ``entry.count``, see
                ``stream.detection.order``.
            break_: flag of the first new window if it does not follow the line's last one.

        Returns:
            The new state, the steps in order, and the numbers of windows in order, repeated or late.
        """
        if state is None or state.spec != self._spec_key:
            state = LineState(spec=self._spec_key)
        result = TrackedRecord(state)
        result.repeated = skip
        if break_ == "late":
            result.late = entry.count - skip
        else:
            result.in_order = entry.count - skip
        if break_ is not None:
            self._flag(state, break_)
            if state.episode is None:
                state.recent = []
        state.restored = False
        if not self._stays_idle(state, classes[skip:]):
            for index in range(skip, entry.count):
                self._track_window(result, entry, index, windows[index], int(classes[index]), probabilities[index])
        state.sequence = entry.sequence + entry.count - 1
        state.start_ns = self._start_ns(entry, entry.count - 1)
        self._forget_when_idle(state)
        return result

    def advance_if_idle(self, state: LineState | None, entry: LineWindows) -> bool:
        """Advance an idle line by a record of quiet windows, as nearly all records are.

        The result is that of ``track``, many times faster.

        Args:
            state: current state of the line; None for a new line.
            entry: record whose windows all have the no-fault class and follow the line's last one.

        Returns:
            False if the line is not idle; the state is then unchanged.
        """
        if state is None or state.episode is not None or state.recent or state.restored or state.spec != self._spec_key:
            return False
        last = entry.count - 1
        state.sequence = entry.sequence + last
        state.start_ns = self._start_ns(entry, last) if last else entry.start_ns
        return True

    def _stays_idle(self, state: LineState, classes: NDArray[np.intp]) -> bool:
        """Return True if the windows need no tracking, because the line is idle and stays quiet."""
        return state.idle and bool((classes == self.none).all())

    @staticmethod
    def _forget_when_idle(state: LineState) -> None:
        """Drop recent windows and flags of an idle line, so that results do not depend on the grouping into records."""
        if state.idle:
            state.recent, state.flags = [], []

    def _start_ns(self, entry: LineWindows, index: int) -> int:
        return entry.start_ns + round(index * self.spec.hop * NS_PER_S / entry.rate_hz)

    @staticmethod
    def _flag(state: LineState, flag: QualityFlag) -> None:
        quality = state.episode.quality if state.episode is not None else state.flags
        if flag not in quality:
            # A new list, because a decoded or default list may be shared.
            quality = [*quality, flag]
            if state.episode is not None:
                state.episode.quality = quality
            else:
                state.flags = quality

    def _track_window(
        self,
        result: TrackedRecord,
        entry: LineWindows,
        index: int,
        window: NDArray[np.float32],
        fault_class: int,
        probabilities: NDArray[np.float32],
    ) -> None:
        state = result.state
        faulty = fault_class != self.none
        if state.episode is None and 1.0 - float(probabilities[self.none]) < self.policy.certainty:
            faulty = False
        start_ns = self._start_ns(entry, index)
        recent = RecentWindow(fault_class, entry.sequence + index, start_ns, 0, [])
        before = state.recent[-(self.policy.of - 1) :] if self.policy.of > 1 else []
        if faulty:
            recent.probabilities = probabilities.tolist()
            if state.episode is None and not self._completes_an_onset(before):
                recent.inception_ns = start_ns + round(
                    self._signal.inception_sample(window, self.spec) * NS_PER_S / entry.rate_hz
                )
        state.recent = [*before, recent]
        if state.episode is None:
            self._maybe_onset(result, entry, window)
        elif faulty:
            self._continue(result, entry, recent, window)
        else:
            self._quiet(result, entry, recent)
        self._forget_when_idle(state)

    def _completes_an_onset(self, before: list[RecentWindow]) -> bool:
        """Return True if a faulty window completes an onset whose inception lies in an earlier window."""
        earlier = sum(1 for recent in before if recent.probabilities)
        return 0 < earlier >= self.policy.confirm - 1

    def _end_ns(self, start_ns: int, rate_hz: float) -> int:
        """Return the end of a window in Unix ns."""
        return start_ns + round(self.spec.samples * NS_PER_S / rate_hz)

    def _maybe_onset(self, result: TrackedRecord, entry: LineWindows, window: NDArray[np.float32]) -> None:
        state = result.state
        faulty = [recent for recent in state.recent if recent.probabilities]
        if len(faulty) < self.policy.confirm:
            return
        mean = np.mean([recent.probabilities for recent in faulty], axis=0)
        fault_class = self._most_probable_fault(mean)
        first, last = faulty[0], faulty[-1]
        identity = f"{self.spec.name}\x1f{entry.line}\x1f{first.sequence}\x1f{first.start_ns}"
        quality = set(state.flags) | self._signal.quality_flags(window, self.spec)
        state.episode = OpenEpisode(
            episode_id=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
            fault_class=fault_class,
            inception_ns=first.inception_ns,
            last_fault_end_ns=self._end_ns(last.start_ns, entry.rate_hz),
            quality=[flag for flag in QUALITY_ORDER if flag in quality],
        )
        state.flags = []
        result.steps.append(self._step(entry, state.episode, "onset", state.recent[-1], mean))

    def _continue(
        self, result: TrackedRecord, entry: LineWindows, recent: RecentWindow, window: NDArray[np.float32]
    ) -> None:
        episode = cast(OpenEpisode, result.state.episode)
        episode.quiet = 0
        episode.last_fault_end_ns = self._end_ns(recent.start_ns, entry.rate_hz)
        if self._merged[recent.fault_class] == self._merged[episode.fault_class]:
            episode.rival_class, episode.rivals = -1, 0
            return
        if episode.rivals and self._merged[recent.fault_class] == self._merged[episode.rival_class]:
            episode.rivals += 1
            episode.rival_probabilities = np.add(episode.rival_probabilities, recent.probabilities).tolist()
        else:
            episode.rival_class, episode.rivals = recent.fault_class, 1
            episode.rival_probabilities = recent.probabilities
        if episode.rivals >= self.policy.confirm:
            previous = episode.fault_class
            mean = np.asarray(episode.rival_probabilities) / episode.rivals
            rival = self._merged[episode.rival_class]
            alike = [index for index, merged in enumerate(self._merged) if merged == rival]
            episode.fault_class = max(alike, key=lambda index: float(mean[index]))
            episode.rival_class, episode.rivals, episode.rival_probabilities = -1, 0, []
            for flag in self._signal.quality_flags(window, self.spec):
                self._flag(result.state, cast(QualityFlag, flag))
            result.steps.append(self._step(entry, episode, "update", recent, mean, previous=previous))

    def _quiet(self, result: TrackedRecord, entry: LineWindows, recent: RecentWindow) -> None:
        state = result.state
        episode = cast(OpenEpisode, state.episode)
        episode.quiet += 1
        episode.rival_class, episode.rivals = -1, 0
        if episode.quiet < self.policy.clear:
            return
        mean = np.zeros(len(self.spec.classes))
        mean[self.none] = 1.0
        # A window stays faulty until about half of it lies after the clearing, so half a window is subtracted.
        cleared_ns = episode.last_fault_end_ns - round(self.spec.samples * NS_PER_S / entry.rate_hz / 2)
        cleared_ns = max(cleared_ns, episode.inception_ns)
        state.episode, state.recent = None, []
        result.steps.append(self._step(entry, episode, "clear", recent, mean, cleared_ns=cleared_ns))

    def _most_probable_fault(self, probabilities: NDArray[np.float64]) -> int:
        ranked = probabilities.copy()
        ranked[self.none] = -1.0
        return int(ranked.argmax())

    def _step(
        self,
        entry: LineWindows,
        episode: OpenEpisode,
        state: EpisodeState,
        recent: RecentWindow,
        probabilities: NDArray[np.float64],
        *,
        previous: int | None = None,
        cleared_ns: int | None = None,
    ) -> EpisodeStep:
        return EpisodeStep(
            line=entry.line,
            state=state,
            episode_id=episode.episode_id,
            fault_class=episode.fault_class,
            previous_class=previous,
            probabilities=probabilities,
            inception_ns=episode.inception_ns,
            detection_ns=recent.start_ns + round((self.spec.samples - 1) * NS_PER_S / entry.rate_hz),
            cleared_ns=cleared_ns,
            sequence=recent.sequence,
            start_ns=recent.start_ns,
            rate_hz=entry.rate_hz,
            quality=cast(tuple[QualityFlag, ...], tuple(flag for flag in QUALITY_ORDER if flag in episode.quality)),
        )
