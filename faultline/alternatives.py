"""Combine the answers for a line whose voltages are not certain into one, if they agree.

A record may not show which of its voltages belong to a line's currents. The line is then judged with each set of
voltages, and a fault is published only if its class and inception are the same with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from domains.powerline.waveforms import Finding, RecordLine
from faultline.answers import FaultEpisode, LineAnswer
from model.spec import SignalSpec

TOLERANCE_CYCLES = 0.5
"""Largest difference of two times that count as equal."""


def settled(answers: Sequence[LineAnswer], spec: SignalSpec) -> LineAnswer:
    """Return one answer for a line and its alternatives.

    Args:
        answers: answer for the line and for each of its alternatives, in the order of ``RecordLine.alternatives``.
        spec: spec of the model.

    Returns:
        The first answer with a finding if all agree; otherwise it is "not judged", and the reason names the answers and
        the options to choose with.
    """
    first = answers[0]
    if len(answers) == 1:
        return first
    if all(answer.verdict == "not judged" for answer in answers):
        return first
    tolerance_s = TOLERANCE_CYCLES / first.line.frequency_hz
    if not all(_agree(first, other, spec, tolerance_s) for other in answers[1:]):
        return replace(first, verdict="not judged", reason=_disagreement(answers), events=(), episodes=(), findings=())
    choices = "; ".join(voltages_of(answer.line) for answer in answers)
    message = f"the answer is the same with each set of voltages ({choices})"
    findings = [*first.findings, Finding("note", "voltages-agree", message, first.line.name)]
    if not all(_same_durations(first, other, tolerance_s) for other in answers[1:]):
        lasting = "; ".join(f"{voltages_of(answer.line)}: {_durations(answer)}" for answer in answers)
        message = f"the duration depends on the voltages that belong to the line ({lasting}): {_options(answers)}"
        findings.append(Finding("warning", "duration-uncertain", message, first.line.name))
    return replace(first, findings=tuple(findings))


def voltages_of(line: RecordLine) -> str:
    """Return the voltages of a line in words, e.g. ``voltages 1 VA, 2 VB, 3 VC``."""
    channels = [source for role, source in line.sources.items() if role.startswith("v")]
    return f"voltages {', '.join(channels)}" if channels else "no voltages"


def _agree(first: LineAnswer, other: LineAnswer, spec: SignalSpec, tolerance_s: float) -> bool:
    if first.verdict != other.verdict or len(first.episodes) != len(other.episodes):
        return False
    merged = dict(zip(spec.class_names, spec.equivalent_indices(), strict=True))
    return all(
        merged[one.fault_class] == merged[two.fault_class] and abs(one.inception_s - two.inception_s) <= tolerance_s
        for one, two in zip(first.episodes, other.episodes, strict=True)
    )


def _same_durations(first: LineAnswer, other: LineAnswer, tolerance_s: float) -> bool:
    pairs = [(one.duration_s, two.duration_s) for one, two in zip(first.episodes, other.episodes, strict=True)]
    return all(one is two if one is None or two is None else abs(one - two) <= tolerance_s for one, two in pairs)


def _disagreement(answers: Sequence[LineAnswer]) -> str:
    given = "; ".join(f"{voltages_of(answer.line)} give {_in_words(answer)}" for answer in answers)
    return f"the record does not show which voltages belong to the line: {given}: {_options(answers)}"


def _options(answers: Sequence[LineAnswer]) -> str:
    return "assign them with " + " or ".join(answer.line.paste_option for answer in answers)


def _in_words(answer: LineAnswer) -> str:
    if answer.verdict == "not judged":
        return f"no answer ({answer.reason})"
    return ", ".join(_episode_in_words(episode) for episode in answer.episodes) or "no fault"


def _episode_in_words(episode: FaultEpisode) -> str:
    lasting = "to the end" if episode.duration_s is None else f"for {1000 * episode.duration_s:.0f} ms"
    return f"{episode.fault_class} from {episode.inception_s:.4f} s {lasting}"


def _durations(answer: LineAnswer) -> str:
    return ", ".join(
        "to the end" if episode.duration_s is None else f"{1000 * episode.duration_s:.0f} ms"
        for episode in answer.episodes
    )
