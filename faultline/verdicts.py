"""Decide from a line's windows if it has a fault, has no fault, or was not judged, and give the reason.

"No fault" is an answer of the model. A line whose windows the model cannot judge has no answer, so it is "not judged".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domains.powerline.rejection import PowerLineRejection
from domains.powerline.waveforms import CHANNELS, Finding, RecordLine, SkippedPart, skipped_parts
from domains.powerline.waveforms.signal.resample import whole_hop_rate
from model.engine import Engine
from model.spec import EpisodePolicy, SignalSpec
from stream.contract import NS_PER_S, FaultEvent
from stream.detection.classify import Classifier, is_rejected
from stream.detection.offline import Detection

Verdict = Literal["fault", "no fault", "not judged"]

LEAST_SHARE = 0.1
"""Share of judged windows below which a line is not judged: a twentieth of white noise passes by chance."""
MOST_SPANS = 3
"""Largest number of periods that a sentence lists."""
WAVEFORM_PER_CYCLE = 4
"""Smallest number of samples per cycle as messages state it."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict on one line.

    Attributes:
        verdict: "fault", "no fault", or "not judged" if the model had too few windows that it can judge.
        reason: reason why the line was not judged, with the remedy; empty otherwise.
        findings: limits of the answer, such as a part of the record that was not judged.
    """

    verdict: Verdict
    reason: str = ""
    findings: tuple[Finding, ...] = ()


class WindowLog:
    """Windows of one line in the order of time, as they were classified.

    Args:
        line: the line.
        spec: spec of the windows.
        classifier: classifier of the windows; the bounds of an engine explain why a window is out of distribution.

    Attributes:
        causes: number of windows per exceeded bound; a window counts for the first bound only.
        invalid: reasons why messages could not be decoded.
    """

    def __init__(self, line: RecordLine, spec: SignalSpec, classifier: Classifier) -> None:
        self.line = line
        self.spec = spec
        self.rejection = classifier.rejection if isinstance(classifier, Engine) else None
        self.causes: Counter[str] = Counter()
        self.invalid: list[str] = []
        self._ends_s: list[NDArray[np.float64]] = []
        self._is_rejected: list[Mask] = []
        self._classes: list[NDArray[np.intp]] = []

    def add(self, found: Detection) -> None:
        """Add the windows of one batch."""
        self.invalid += [record.message for record in found.batch.dead]
        for entry in found.batch.records:
            first_s = (entry.start_ns - self.line.start_ns) / NS_PER_S + (self.spec.samples - 1) / entry.rate_hz
            self._ends_s.append(first_s + np.arange(entry.count) * self.spec.hop / entry.rate_hz)
        self._classes.append(found.classes)
        self._is_rejected.append(self._rejected(found))

    def _rejected(self, found: Detection) -> Mask:
        """Return a mask of the windows without a usable answer, and count the causes."""
        rejected = is_rejected(found.probabilities)
        if isinstance(self.rejection, PowerLineRejection) and rejected.any():
            counted = np.zeros(int(rejected.sum()), bool)
            for name, exceeded in self.rejection.exceeded(found.batch.windows[rejected]).items():
                self.causes += Counter({name: int((exceeded & ~counted).sum())})
                counted |= exceeded
        return rejected

    @property
    def ends_s(self) -> NDArray[np.float64]:
        """Return the time of every window's last sample, seconds after the record's first sample, float64 (n,)."""
        return np.concatenate(self._ends_s) if self._ends_s else np.empty(0)

    @property
    def is_rejected(self) -> Mask:
        """Return a mask (n,) of the windows without a usable answer."""
        return np.concatenate(self._is_rejected) if self._is_rejected else np.empty(0, bool)

    @property
    def classes(self) -> NDArray[np.intp]:
        """Return the most probable class of every window, (n,), after rejection."""
        return np.concatenate(self._classes) if self._classes else np.empty(0, np.intp)


def judge(log: WindowLog, policy: EpisodePolicy, events: Sequence[FaultEvent]) -> Judgement:
    """Return the verdict on a line.

    Args:
        log: all windows of the line.
        policy: rule by which windows confirm a fault.
        events: events of the faults that were found, in order.
    """
    line = log.line
    skipped = skipped_parts(line, log.spec)
    dead = _dead_currents(line, log.spec)
    findings = [*_part_findings(log, skipped), *_unconfirmed(log, events)]
    if events:
        if len(dead) == 3:
            message = f"{_no_currents(line)}: the fault is judged by the voltages alone and may be on another line"
            findings.append(Finding("warning", "no-currents", message, line.name))
        return Judgement("fault", findings=tuple(findings))
    reason = _too_little_judged(log, skipped, policy)
    if not reason and len(dead) == 3:
        reason = f"{_no_currents(line)}, by which a line is judged: assign them with --channels"
    if not reason and line.dead:
        reason = f"the currents carry no signal ({line.dead}): assign others with --channels"
    if reason:
        return Judgement("not judged", reason)
    if dead:
        phases = " and ".join(name[-1].upper() for name in dead)
        have = "has" if len(dead) == 1 else "have"
        message = f"a fault on phase {phases} may be missed: {' and '.join(dead)} {have} no waveform"
        findings.append(Finding("warning", "partly-judged", message, line.name))
    return Judgement("no fault", findings=tuple(findings))


def _too_little_judged(log: WindowLog, skipped: Sequence[SkippedPart], policy: EpisodePolicy) -> str:
    """Return the reason why no window, or too few windows to confirm a fault, could be judged; empty if enough."""
    count, judged = len(log.is_rejected), int((~log.is_rejected).sum())
    if count == 0:
        return _no_windows(log, skipped)
    if judged == 0:
        return f"{_all_of(count)} out of distribution: {_likely_cause(log)}"
    if judged < LEAST_SHARE * count and set(log.causes) != {"least_change"}:
        return f"only {judged} of {_windows(count)} could be judged: {_likely_cause(log)}"
    if _most_in_a_row(log, policy.of) >= policy.confirm:
        return ""
    wanted = f"a fault is confirmed by {policy.confirm} windows within {policy.of}"
    if judged == count:
        return f"the record has only {_windows(count)}, and {wanted}: give a longer record"
    return f"only {judged} of {_windows(count)} could be judged, and {wanted}: {_likely_cause(log)}"


def _no_windows(log: WindowLog, skipped: Sequence[SkippedPart]) -> str:
    """Return the reason why a line has no windows."""
    if log.invalid:
        return f"its windows are invalid: {log.invalid[0]}"
    slow = [part.samples_per_cycle for part in skipped if part.too_slow]
    short = [part.stop_s - part.start_s for part in skipped if not part.too_slow]
    reasons = []
    if slow:
        reasons.append(
            f"{max(slow):.1f} samples per cycle are too few, a waveform needs {WAVEFORM_PER_CYCLE}: give a record of a "
            "higher rate, or --rate or --frequency if those of the file are wrong"
        )
    if short:
        what = "the record lasts" if len(skipped) == 1 else "the longest part without a gap lasts"
        window_ms = 1e3 * log.spec.samples / whole_hop_rate(log.spec, log.line.frequency_hz)
        reasons.append(
            f"{what} {1e3 * max(short):.3g} ms, too short for a window of {window_ms:.3g} ms: give a longer record"
        )
    return "; ".join(reasons) or "the record has no samples"


def _dead_currents(line: RecordLine, spec: SignalSpec) -> list[str]:
    """Return the currents that are missing or constant."""
    if not len(line.samples):
        return []
    columns = {name: line.samples[:, CHANNELS.index(name)] for name in CHANNELS[:3] if name in spec.channels}
    return [name for name, values in columns.items() if values.min() == values.max()]


def _no_currents(line: RecordLine) -> str:
    if set(CHANNELS[:3]) <= set(line.missing):
        return "the line has no currents"
    return f"the currents {', '.join(CHANNELS[:3])} are constant"


def _part_findings(log: WindowLog, skipped: Sequence[SkippedPart]) -> list[Finding]:
    """Return a finding for each kind of part that was not judged."""
    count, rejected = len(log.is_rejected), int(log.is_rejected.sum())
    findings = []
    if rejected:
        # A line that is switched off is an ordinary state; all other causes may hide a fault.
        level: Literal["note", "warning"] = "note" if set(log.causes) == {"least_change"} else "warning"
        message = (
            f"{count - rejected} of {_windows(count)} were judged; the others, {_spans(log)}, are out of distribution: "
            f"{_likely_cause(log)}"
        )
        findings.append(Finding(level, "partly-judged", message, log.line.name))
    slow = [(part.start_s, part.stop_s) for part in skipped if part.too_slow]
    short = [(part.start_s, part.stop_s) for part in skipped if not part.too_slow]
    if slow:
        message = f"{_listed(slow)} was not judged: it has too few samples per cycle"
        findings.append(Finding("warning", "partly-judged", message, log.line.name))
    if short:
        message = f"{_listed(short)} was not judged: it is shorter than a window"
        findings.append(Finding("note", "partly-judged", message, log.line.name))
    return findings


def _unconfirmed(log: WindowLog, events: Sequence[FaultEvent]) -> list[Finding]:
    """Return a finding if the record ends with faulty windows that are too few to confirm a fault."""
    classes, none = log.classes, log.spec.none_index
    quiet = np.flatnonzero(classes == none)
    faulty = classes[quiet[-1] + 1 :] if len(quiet) else classes
    is_open = bool(events) and events[-1].state != "clear"
    if is_open or not len(faulty):
        return []
    name = log.spec.class_names[Counter(faulty.tolist()).most_common(1)[0][0]]
    message = (
        f"the last {_windows(len(faulty))} of the record look like {name}, but it ends before a fault is confirmed: "
        "give a longer record"
    )
    return [Finding("warning", "unconfirmed-fault", message, log.line.name)]


def _likely_cause(log: WindowLog) -> str:
    """Return the likely reason why windows are out of distribution, with the remedy."""
    if not log.causes:
        return "the model has no answer for them; check the channels and the bases with faultline inspect"
    name, number = log.causes.most_common(1)[0]
    line, rejection = log.line, log.rejection
    assert isinstance(rejection, PowerLineRejection)
    texts = {
        "least_change": "the line is switched off, or its channels have no waveform",
        "most_voltage": (
            f"its voltages exceed {rejection.most_voltage:.3g} times the base of {line.voltage_base:.6g} V; check "
            "--voltage-base"
        ),
        "most_current": (
            f"its currents exceed {rejection.most_current:.3g} times the base of {line.current_base:.6g} A; check "
            "--current-base"
        ),
        "most_roughness": (
            f"neither currents nor voltages have a waveform of {line.frequency_hz:.4g} Hz; check the channels, "
            "--frequency and --rate"
        ),
    }
    return ("mostly, " if number < log.is_rejected.sum() else "") + texts[name]


def _most_in_a_row(log: WindowLog, of: int) -> int:
    """Return the largest number of judged windows among ``of`` consecutive ones without a gap."""
    step_s = np.diff(log.ends_s)
    runs = [~log.is_rejected]
    if len(step_s):
        runs = np.split(runs[0], np.flatnonzero(step_s > 1.5 * np.median(step_s)) + 1)
    return max(int(np.convolve(run, np.ones(of, int)).max()) for run in runs)


def _spans(log: WindowLog) -> str:
    """Return the periods of the windows without an answer."""
    length_s = (log.spec.samples - 1) / whole_hop_rate(log.spec, log.line.frequency_hz)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], log.is_rejected, [False]]).astype(np.int8)))
    firsts, lasts = np.maximum(log.ends_s[edges[::2]] - length_s, 0.0), log.ends_s[edges[1::2] - 1]
    spans: list[tuple[float, float]] = []
    for start_s, stop_s in zip(firsts.tolist(), lasts.tolist(), strict=True):
        # Windows overlap, so the periods of two groups may overlap as well.
        if spans and start_s <= spans[-1][1]:
            start_s = spans.pop()[0]
        spans.append((start_s, stop_s))
    return _listed(spans)


def _listed(spans: Sequence[tuple[float, float]]) -> str:
    shown = ", ".join(f"{start:.3f} s to {stop:.3f} s" for start, stop in spans[:MOST_SPANS])
    more = len(spans) - MOST_SPANS
    return f"{shown} and {more} more" if more > 0 else shown


def _windows(count: int) -> str:
    return f"{count:,} window{'' if count == 1 else 's'}"


def _all_of(count: int) -> str:
    return "the only window is" if count == 1 else f"all {count:,} windows are"
