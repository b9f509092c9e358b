"""Track episodes per line: turn classes of windows and a state into steps of episodes and a new state. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
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


class EpisodeTracker:
    """Track episodes: m faulty windows out of n open one, `clear` quiet windows end it, a lasting change updates it.

    A change between equivalent classes of the spec is no update: such classes cannot be distinguished, and the event's
    probabilities show both.

    Attributes:
        spec: spec of the windows.
        policy: m, n, `clear`, and the certainty that a window needs to count towards an onset.
        none: index of the no-fault class.
        merged: for every class, the index that equivalent classes share.
        signal: measurements of the spec's domain.
        spec_key: key of the spec in line states.
    """

    def __init__(self, spec: SignalSpec, policy: EpisodePolicy | None = None) -> None:
        self.spec = spec
        self.policy = policy or spec.episode
        self.none = spec.none_index
        self.merged = list(spec.equivalent_indices())
        # The domain is looked up once here, not for every batch.
        self.signal = domain_of(spec).signal
        self.spec_key = spec_key(spec)

    def advance_if_idle(self, state: LineState | None, entry: LineWindows) -> bool:
        """Advance an idle line by a record of quiet windows, as nearly all records are.

        The result is that of ``BatchTracking.track``, many times faster.

        Args:
            state: current state of the line; None for a new line.
            entry: record whose windows all have the no-fault class and follow the line's last one.

        Returns:
            False if the line is not idle; the state is then unchanged.
        """
        if state is None or state.episode is not None or state.recent or state.restored or state.spec != self.spec_key:
            return False
        last = entry.count - 1
        state.sequence = entry.sequence + last
        state.start_ns = self.start_ns(entry, last) if last else entry.start_ns
        return True

    def start_ns(self, entry: LineWindows, index: int) -> int:
        """Return the time (Unix ns) of the first sample of a record's window."""
        return entry.start_ns + round(index * self.spec.hop * NS_PER_S / entry.rate_hz)


@dataclass(slots=True)
class _Step:
    """Step of an episode before its windows are measured."""

    entry: LineWindows
    state: EpisodeState
    episode: OpenEpisode
    fault_class: int
    probabilities: NDArray[np.float64]
    index: int
    """Index of the completing window in its record."""
    quality: list[str]
    """Flags of the episode at this step, without those that this batch's windows show."""
    previous_class: int | None = None
    first: RecentWindow | None = None
    """First faulty window, which contains the inception; None unless the step is an onset."""
    cleared_ns: int | None = None


class BatchTracking:
    """Tracking of one batch: the records' windows in order first, then the measurements of all windows that need one.

    Args:
        tracker: the rules.
        windows: float32 (n, samples, channels), per unit.
        classes: (n,), most probable class of every window.
        probabilities: float32 (n, classes), calibrated.
    """

    def __init__(
        self,
        tracker: EpisodeTracker,
        windows: NDArray[np.float32],
        classes: NDArray[np.intp],
        probabilities: NDArray[np.float32],
    ) -> None:
        self._tracker = tracker
        self._policy = tracker.policy
        self._windows = windows
        self._classes = classes
        self._probabilities = probabilities
        faulty = classes != tracker.none
        self._faulty = faulty.tobytes()
        """One byte per window: 1 if its class is a fault. Reading a byte is much faster than reading an array."""
        no_fault = probabilities[:, tracker.none].astype(np.float64)
        self._certain = (faulty & ~(1.0 - no_fault < self._policy.certainty)).tobytes()
        """One byte per window: 1 if it counts towards an onset."""
        self._steps: list[_Step] = []
        self._inceptions: list[tuple[RecentWindow, int, float]] = []
        """Windows whose inception an onset can need, each with its row and the rate of its line."""

    def track(self, state: LineState, entry: LineWindows, skip: int, break_: QualityFlag | None) -> None:
        """Track the new windows of one record.

        Args:
            state: state of the line; it is changed in place.
            entry: record of the batch.
            skip: number of leading windows that were tracked before, fewer than ``entry.count``, see
                ``stream.detection.order``.
            break_: flag of the first new window if it does not follow the line's last one.
        """
        if break_ is not None:
            _flag(state, break_)
            if state.episode is None:
                state.recent = []
        state.restored = False
        index, count = skip, entry.count
        while index < count:
            if state.episode is not None:
                index = self._go_on(state, state.episode, entry, index)
            else:
                index = self._suspect(state, entry, index)
        state.sequence = entry.sequence + count - 1
        state.start_ns = self._tracker.start_ns(entry, count - 1)

    def finish(self) -> list[tuple[LineWindows, EpisodeStep]]:
        """Measure the windows that events and onsets need, and complete the states.

        Returns:
            The steps in the order of the records, each with the record that completed it.
        """
        tracker = self._tracker
        if self._inceptions:
            rows = [row for _, row, _ in self._inceptions]
            samples = tracker.signal.inception_samples(self._windows[rows], tracker.spec).tolist()
            for (recent, _, rate_hz), sample in zip(self._inceptions, samples, strict=True):
                recent.inception_ns = recent.start_ns + round(sample * NS_PER_S / rate_hz)
        measured = [step.entry.first + step.index for step in self._steps if step.state != "clear"]
        shown = iter(tracker.signal.quality_flags_of(self._windows[measured], tracker.spec) if measured else ())
        flags: dict[str, set[str]] = {}
        steps = []
        for step in self._steps:
            episode = step.episode
            of_episode = flags.setdefault(episode.episode_id, set())
            if step.state != "clear":
                of_episode |= next(shown)
                episode.quality = _in_order({*episode.quality, *of_episode})
            if step.first is not None:
                episode.inception_ns = step.first.inception_ns
            steps.append((step.entry, self._completed(step, of_episode)))
        return steps

    def _completed(self, step: _Step, flags: set[str]) -> EpisodeStep:
        entry, episode, tracker = step.entry, step.episode, self._tracker
        start_ns = tracker.start_ns(entry, step.index)
        quality = _in_order({*step.quality, *flags})
        return EpisodeStep(
            line=entry.line,
            state=step.state,
            episode_id=episode.episode_id,
            fault_class=step.fault_class,
            previous_class=step.previous_class,
            probabilities=step.probabilities,
            inception_ns=episode.inception_ns,
            detection_ns=start_ns + round((tracker.spec.samples - 1) * NS_PER_S / entry.rate_hz),
            cleared_ns=None if step.cleared_ns is None else max(step.cleared_ns, episode.inception_ns),
            sequence=entry.sequence + step.index,
            start_ns=start_ns,
            rate_hz=entry.rate_hz,
            quality=cast(tuple[QualityFlag, ...], tuple(quality)),
        )

    # Without an open episode -----------------------------------------------------------------------------------------

    def _suspect(self, state: LineState, entry: LineWindows, index: int) -> int:
        """Track windows of a line without an open episode until one opens; return the index of the next window."""
        certain, first, policy = self._certain, entry.first, self._policy
        end = first + entry.count
        row = first + index
        while row < end:
            if state.idle:
                found = certain.find(1, row, end)
                if found != row:
                    # Quiet windows of an idle line leave no trace, so results do not depend on the cut into records.
                    state.recent, state.flags = [], []
                if found < 0:
                    return entry.count
                row = found
            index = row - first
            before = state.recent[-(policy.of - 1) :] if policy.of > 1 else []
            fault_class = int(self._classes[row])
            start_ns = self._tracker.start_ns(entry, index)
            recent = RecentWindow(fault_class, entry.sequence + index, start_ns, 0, [])
            state.recent = [*before, recent]
            if certain[row]:
                recent.probabilities = self._probabilities[row].tolist()
                earlier = sum(1 for one in before if one.probabilities)
                completes = earlier >= policy.confirm - 1
                if not (completes and earlier):
                    self._inceptions.append((recent, row, entry.rate_hz))
                if completes:
                    self._open(state, entry, index)
                    return index + 1
            elif state.idle:
                state.recent, state.flags = [], []
            row += 1
        return entry.count

    def _open(self, state: LineState, entry: LineWindows, index: int) -> None:
        tracker = self._tracker
        faulty = [recent for recent in state.recent if recent.probabilities]
        mean = np.array([recent.probabilities for recent in faulty]).sum(axis=0) / len(faulty)
        first, last = faulty[0], faulty[-1]
        ranked = mean.tolist()
        ranked[tracker.none] = -1.0
        identity = f"{tracker.spec.name}\x1f{entry.line}\x1f{first.sequence}\x1f{first.start_ns}"
        episode = state.episode = OpenEpisode(
            episode_id=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
            fault_class=ranked.index(max(ranked)),
            inception_ns=first.inception_ns,
            last_fault_end_ns=self._end_ns(last.start_ns, entry.rate_hz),
            quality=_in_order(state.flags),
        )
        # Nothing reads the recent windows while an episode is open.
        state.recent, state.flags = [], []
        self._steps.append(
            _Step(entry, "onset", episode, episode.fault_class, mean, index, episode.quality, first=first)
        )

    def _end_ns(self, start_ns: int, rate_hz: float) -> int:
        """Return the end of a window in Unix ns."""
        return start_ns + round(self._tracker.spec.samples * NS_PER_S / rate_hz)

    # With an open episode --------------------------------------------------------------------------------------------

    def _go_on(self, state: LineState, episode: OpenEpisode, entry: LineWindows, index: int) -> int:
        """Track windows of a line with an open episode until it is clear; return the index of the next window."""
        faulty, classes, merged, first = self._faulty, self._classes, self._tracker.merged, entry.first
        clear, last_faulty = self._policy.clear, -1
        for at in range(index, entry.count):
            row = first + at
            if not faulty[row]:
                episode.quiet += 1
                episode.rival_class, episode.rivals = -1, 0
                if episode.quiet >= clear:
                    self._note_end(episode, entry, last_faulty)
                    self._clear(state, episode, entry, at)
                    return at + 1
                continue
            episode.quiet, last_faulty = 0, at
            fault_class = int(classes[row])
            if merged[fault_class] == merged[episode.fault_class]:
                episode.rival_class, episode.rivals = -1, 0
            else:
                self._rival(episode, entry, at, fault_class)
        self._note_end(episode, entry, last_faulty)
        return entry.count

    def _note_end(self, episode: OpenEpisode, entry: LineWindows, index: int) -> None:
        """Note the end of a record's last faulty window; its index is -1 if there is none."""
        if index >= 0:
            episode.last_fault_end_ns = self._end_ns(self._tracker.start_ns(entry, index), entry.rate_hz)

    def _rival(self, episode: OpenEpisode, entry: LineWindows, index: int, fault_class: int) -> None:
        """Count a window of another class than the episode's; enough of them in a row update the episode."""
        merged = self._tracker.merged
        probabilities = self._probabilities[entry.first + index].tolist()
        if episode.rivals and merged[fault_class] == merged[episode.rival_class]:
            episode.rivals += 1
            summed = zip(episode.rival_probabilities, probabilities, strict=True)
            episode.rival_probabilities = [known + new for known, new in summed]
        else:
            episode.rival_class, episode.rivals, episode.rival_probabilities = fault_class, 1, probabilities
        if episode.rivals < self._policy.confirm:
            return
        previous, rival = episode.fault_class, merged[episode.rival_class]
        mean = np.asarray(episode.rival_probabilities) / episode.rivals
        alike = [index for index, one in enumerate(merged) if one == rival]
        episode.fault_class = max(alike, key=lambda index: float(mean[index]))
        episode.rival_class, episode.rivals, episode.rival_probabilities = -1, 0, []
        self._steps.append(
            _Step(entry, "update", episode, episode.fault_class, mean, index, episode.quality, previous_class=previous)
        )

    def _clear(self, state: LineState, episode: OpenEpisode, entry: LineWindows, index: int) -> None:
        spec = self._tracker.spec
        quiet = np.zeros(len(spec.classes))
        quiet[self._tracker.none] = 1.0
        # A window stays faulty until about half of it lies after the clearing, so half a window is subtracted.
        cleared_ns = episode.last_fault_end_ns - round(spec.samples * NS_PER_S / entry.rate_hz / 2)
        state.episode, state.recent, state.flags = None, [], []
        self._steps.append(
            _Step(entry, "clear", episode, episode.fault_class, quiet, index, episode.quality, cleared_ns=cleared_ns)
        )


def _in_order(flags: Collection[str]) -> list[str]:
    """Return flags of the contract in its order."""
    return [flag for flag in QUALITY_ORDER if flag in flags]


def _flag(state: LineState, flag: QualityFlag) -> None:
    # A new list, because a decoded or default list may be shared.
    if state.episode is None:
        state.flags = _in_order({*state.flags, flag})
    else:
        state.episode.quality = _in_order({*state.episode.quality, flag})
