"""Drift is found once, soon and with its reason; loads, faults, wrong clocks and restarts are not drift."""

from __future__ import annotations

import numpy as np
import pytest

from model.artefact import shipped
from model.spec import load_spec
from stream.contract import NS_PER_S
from tests.training.sidecar.drift.drift_hours import BEGIN_NS, DRIFT_FROM_S, SHOWN_WINDOWS, Batch, hour
from training.sidecar.drift.detector import DriftDetector, DriftPolicy, DriftSignal
from training.sidecar.drift.features import drift_features, watched_features

SPEC = load_spec("line")
REJECTION = shipped("line").manifest.rejection


def signals(detector: DriftDetector, batches: list[Batch]) -> list[DriftSignal]:
    return [signal for batch in batches if (signal := detector.update(*batch))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_growing_gain_and_noise_are_found_once_and_explained(seed: int) -> None:
    (signal,) = signals(DriftDetector(SPEC, rejection=REJECTION), list(hour(SPEC, seed, drifts=True)))
    minutes = (signal.at_ns - BEGIN_NS) / NS_PER_S / 60
    assert DRIFT_FROM_S / 60 + 5 <= minutes <= 45
    assert signal.feature in signal.reason
    assert signal.after > 1.5 * signal.before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault_share", [0.0, 0.55, 1.0])
def test_a_day_of_loads_and_faults_is_no_drift(seed: int, fault_share: float) -> None:
    batches = list(hour(SPEC, seed, drifts=False, fault_share=fault_share))
    assert signals(DriftDetector(SPEC, rejection=REJECTION), batches) == []


def test_a_change_that_goes_away_soon_is_no_drift() -> None:
    batches = list(hour(SPEC, 1, drifts=False, day=False))
    for number in range(150, 170):  # somewhat more than three minutes
        names, times, windows = batches[number]
        batches[number] = names, times, windows * np.float32(1.5)
    assert signals(DriftDetector(SPEC), batches) == []


def test_a_restart_neither_forgets_nor_repeats() -> None:
    batches = list(hour(SPEC, 2, drifts=True))
    undisturbed = signals(DriftDetector(SPEC), batches)
    detector, found = DriftDetector(SPEC), []
    for number, batch in enumerate(batches):
        if number % 40 == 39:
            detector = DriftDetector.from_state(detector.state(), SPEC)
        found += signals(detector, [batch])
    assert [signal.feature for signal in found] == [signal.feature for signal in undisturbed]
    after = DriftDetector.from_state(detector.state(), SPEC)
    assert signals(after, batches[-60:]) == []


def test_a_state_of_another_spec_or_torn_begins_afresh() -> None:
    state = DriftDetector(SPEC).state()
    other = DriftDetector.from_state(state, load_spec("instant"))
    assert other.spec.name == "instant"
    assert DriftDetector.from_state(state[:-5], SPEC).state() == state


def test_a_wrong_clock_does_not_turn_stream_time() -> None:
    detector = DriftDetector(SPEC)
    found = []
    for names, times, windows in hour(SPEC, 3, drifts=True, lines=2):
        wrong = times[:SHOWN_WINDOWS] + 400 * 86_400 * NS_PER_S
        found += signals(detector, [(["astray"] * SHOWN_WINDOWS, wrong, windows[:SHOWN_WINDOWS])])
        found += signals(detector, [(names, times, windows)])
    assert len(found) == 1


def test_lines_that_come_and_go_are_compared_with_themselves() -> None:
    detector = DriftDetector(SPEC)
    found = []
    for number, (names, times, windows) in enumerate(hour(SPEC, 4, drifts=False, day=False)):
        heard = slice(0, 3 * SHOWN_WINDOWS) if number // 30 % 2 else slice(3 * SHOWN_WINDOWS, None)
        windows = windows.copy()
        windows[3 * SHOWN_WINDOWS :] *= np.float32(0.6)  # the others are of another voltage
        found += signals(detector, [(names[heard], times[heard], windows[heard])])
    assert found == []


def test_a_model_that_grows_unsure_is_drift() -> None:
    detector = DriftDetector(SPEC, DriftPolicy(reference_s=100, lasting_s=100))
    found = []
    for number, (names, times, windows) in enumerate(hour(SPEC, 5, drifts=False, lines=2)):
        sure = 0.99 if number < 120 else 0.7
        probabilities = np.full((len(names), 12), (1 - sure) / 11, np.float32)
        probabilities[:, SPEC.none_index] = sure
        signal = detector.update(names, times, windows, probabilities)
        found += [signal] if signal else []
    (signal,) = found
    assert signal.feature == "uncertainty of quiet windows"
    assert (signal.before, signal.after) == (pytest.approx(0.01, abs=1e-4), pytest.approx(0.3, abs=1e-4))


def test_features_of_a_known_wave_are_what_was_put_in() -> None:
    turned = 2 * np.pi * np.arange(32) / 32
    phases = turned[:, None] - np.array([0, 2, 4]) * np.pi / 3
    noise = np.random.default_rng(0).standard_normal((200, 32, 3)) * 0.1
    windows = np.concatenate([np.broadcast_to(0.5 * np.cos(phases), (200, 32, 3)), np.cos(phases) + noise], axis=2)
    found = drift_features(windows.astype(np.float32), None, SPEC)
    medians = np.median(found, axis=0).tolist()
    named = {feature.name: feature.plain(value) for feature, value in zip(watched_features(SPEC), medians, strict=True)}
    assert named["voltage level (p.u.)"] == pytest.approx(1.005, rel=0.02)
    assert named["current level (p.u.)"] == pytest.approx(0.505, rel=0.01)
    assert named["voltage noise (p.u.)"] == pytest.approx(0.1 * np.sqrt(28 / 32) + 0.003, rel=0.05)
    assert named["current unbalance"] == pytest.approx(0, abs=1e-3)


def test_windows_classified_as_faulty_are_not_measured_for_drift() -> None:
    windows = np.ones((2, 32, 6), np.float32)
    probabilities = np.zeros((2, 12), np.float32)
    probabilities[0, 0], probabilities[1, 3] = 1, 1
    found = drift_features(windows, probabilities, SPEC)
    assert np.isfinite(found[0, :6]).all()
    assert np.isnan(found[1, :6]).all()
    assert found[:, 7].tolist() == [0, 1]


def test_begun_afresh_it_keeps_silent_for_as_long_after_a_signal() -> None:
    steps = [(0, 1.0), (60, 1.6), (200, 2.6)]
    batches = [
        (names, times, windows * np.float32([gain for first, gain in steps if first <= number][-1]))
        for number, (names, times, windows) in enumerate(hour(SPEC, 0, drifts=False, lines=2, day=False))
    ]

    def found(cool_down_s: float) -> int:
        policy = DriftPolicy(reference_s=100, lasting_s=100, delta=0.1, cool_down_s=cool_down_s)
        detector, count = DriftDetector(SPEC, policy), 0
        for batch in batches:
            if detector.update(*batch) is not None:
                count += 1
                detector = detector.with_new_reference()
        return count

    assert found(6 * 3600) == 1
    assert found(0) == 2
