"""Every condition has its described effect and no other."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.alterations import cycle_rms, resampled, subsiding
from domains.powerline.conditions.measurement import relabelled
from domains.powerline.conditions.records import resimulated
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes
from training.errors import TrainingError
from training.evaluation.conditions.condition import LEVELS, Altered, Condition, Trial

SEED = 5
WANTED = {
    "noise", "ct_saturation", "cvt_subsidence", "harmonics", "frequency", "jitter", "quantisation", "gain_error",
    "dc_offset", "lost_channel", "stuck_channel", "swapped_phases", "reversed_ct", "gap", "rate", "phase_loss",
    "window_position", "fault_resistance", "fault_position", "source_strength", "load_angle", "untransposed",
    "evolving", "current_rating", "sixty_hz", "non_faults", "high_impedance",
    "unbalanced_load",
}  # fmt: skip
MECHANISM = {"swapped_later", "clock_drift", "interleaved", "loss_bursts", "frequency_ramp", "ratio_step"}
ALTERATIONS = sorted(name for name, condition in CONDITIONS.items() if isinstance(condition, Altered))
GROWING = {"noise", "ct_saturation", "cvt_subsidence", "harmonics", "jitter", "quantisation", "gain_error",
           "current_rating", "dc_offset", "phase_loss", "gap", "rate"}  # fmt: skip


@pytest.fixture(scope="module")
def clean() -> Episodes:
    return resimulated(40, SEED)


def altered(name: str, clean: Episodes, level: int) -> Episodes:
    return CONDITIONS[name].trial(clean, level, SEED).episodes


def deviation(name: str, clean: Episodes, level: int) -> float:
    return float(np.sqrt(np.square(altered(name, clean, level).samples - clean.samples).mean()))


def test_the_registry_holds_every_condition_of_the_issue_with_five_severities() -> None:
    assert set(CONDITIONS) >= WANTED | MECHANISM
    assert {condition.name for condition in CONDITIONS.chosen("base")} == WANTED
    assert len(CONDITIONS.chosen(["base", "noise"])) == len(WANTED)
    assert not any(CONDITIONS[name].seen for name in MECHANISM)
    for condition in CONDITIONS.values():
        assert len(condition.values) == len(set(condition.values)) == LEVELS
        assert condition.description


def test_an_unknown_condition_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(TrainingError, match=r"no condition 'nois'; choose from noise, "):
        CONDITIONS.chosen(["nois"])
    assert [condition.name for condition in CONDITIONS.chosen(["gap", "noise"])] == ["gap", "noise"]
    assert len(CONDITIONS.chosen()) == len(CONDITIONS)


def test_a_name_is_registered_once_and_with_five_severities() -> None:
    class Nothing(Condition):
        def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
            return Trial(clean)

    with pytest.raises(TrainingError, match="already"):
        CONDITIONS.register(Nothing("noise", "dB", (1, 2, 3, 4, 5), "Does nothing."))
    with pytest.raises(TrainingError, match="needs 5 severities, not 2"):
        Nothing("nothing", "", (1, 2), "Does nothing.")
    assert "nothing" not in CONDITIONS


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_is_repeatable_and_leaves_the_clean_records_alone(name: str, clean: Episodes) -> None:
    before = clean.samples.copy()
    first, again = altered(name, clean, 5), altered(name, clean, 5)
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(clean.samples, before)
    assert first.samples.shape == before.shape
    assert first.samples.dtype == np.float32
    assert np.isfinite(first.samples).all()
    assert (first.samples != before).any()


@pytest.mark.parametrize("name", sorted(GROWING))
def test_each_severity_departs_further_from_the_clean_records(name: str, clean: Episodes) -> None:
    departures = [deviation(name, clean, level) for level in range(1, LEVELS + 1)]
    assert departures == sorted(departures)
    assert departures[0] > 0


@pytest.mark.parametrize(("level", "snr_db"), enumerate((40, 30, 20, 15, 10), start=1))
def test_noise_has_the_ratio_to_the_signal_that_it_names(level: int, snr_db: float, clean: Episodes) -> None:
    added = altered("noise", clean, level).samples - clean.samples
    alive = cycle_rms(clean.samples) > 0.05
    power = np.square(cycle_rms(clean.samples))[alive].mean() / np.square(added)[alive].mean()
    assert 10 * np.log10(power) == pytest.approx(snr_db, abs=0.3)


def test_harmonics_are_of_the_orders_and_the_amount_that_they_say() -> None:
    t = np.arange(10 * SAMPLES_PER_CYCLE)
    wave = np.cos(2 * np.pi * t / SAMPLES_PER_CYCLE)[None, :, None] * np.ones((4, 1, 6))
    clean = Episodes(wave.astype(np.float32), np.zeros((4, len(t)), np.int8), np.ones((4, len(t)), bool), ((),) * 4, ())
    spectrum = np.abs(np.fft.rfft(altered("harmonics", clean, 3).samples, axis=1))[:, ::10]
    distortion = np.sqrt(np.square(spectrum[:, [3, 5, 7]]).sum(axis=1)) / spectrum[:, 1]
    np.testing.assert_allclose(distortion, 0.10, rtol=0.02)
    assert spectrum[:, [2, 4, 6, 8, 9]].max() < 1e-3 * spectrum[:, 1].min()


def test_saturation_takes_from_currents_only_and_only_where_flux_is_large(clean: Episodes) -> None:
    seen = altered("ct_saturation", clean, 5).samples
    np.testing.assert_array_equal(seen[:, :, 3:], clean.samples[:, :, 3:])
    flux = np.abs(clean.samples[:, :, :3].cumsum(axis=1)).max(axis=(1, 2)) * 2 * np.pi / SAMPLES_PER_CYCLE
    small = flux < 0.8  # the core saturates at 2, and begins with at most 0.6 of that
    assert small.any()
    np.testing.assert_allclose(seen[small, :, :3], clean.samples[small, :, :3], atol=1e-5)
    assert np.square(seen[:, :, :3]).sum() < 0.8 * np.square(clean.samples[:, :, :3]).sum()


def test_a_capacitive_transformer_rings_after_a_collapse_and_is_true_in_steady_state() -> None:
    t = np.arange(16 * SAMPLES_PER_CYCLE)
    voltage = np.cos(2 * np.pi * t / SAMPLES_PER_CYCLE) * (t < 8 * SAMPLES_PER_CYCLE)
    samples = np.repeat(voltage[None, :, None], 6, axis=2).astype(np.float32)
    seen = subsiding(samples, 0.3)
    np.testing.assert_array_equal(seen[:, :, :3], samples[:, :, :3])
    np.testing.assert_allclose(seen[0, : 8 * SAMPLES_PER_CYCLE, 3], samples[0, : 8 * SAMPLES_PER_CYCLE, 3], atol=5e-3)
    ringing = np.abs(seen[0, 8 * SAMPLES_PER_CYCLE :, 3]).reshape(-1, SAMPLES_PER_CYCLE).max(axis=1)
    assert 0.15 < ringing[0] <= 0.31
    assert (np.diff(ringing) < 0).all()
    assert ringing[1] / ringing[0] == pytest.approx(np.exp(-1), rel=0.1)


def test_quantised_samples_are_whole_steps(clean: Episodes) -> None:
    seen = altered("quantisation", clean, 5).samples  # seven bits
    current, voltage = seen[:, :, :3] / (80 / 2**7), seen[:, :, 3:] / (5 / 2**7)
    np.testing.assert_allclose(current, np.round(current), atol=1e-4)
    np.testing.assert_allclose(voltage, np.round(voltage), atol=1e-4)


@pytest.mark.parametrize(("level", "currents", "voltages"), [(1, 0, 1), (2, 1, 0), (3, 0, 2), (4, 0, 3), (5, 2, 0)])
def test_lost_channels_read_zero_and_the_others_as_before(
    level: int, currents: int, voltages: int, clean: Episodes
) -> None:
    seen = altered("lost_channel", clean, level).samples
    gone = (seen == 0).all(axis=1)
    assert (gone[:, :3].sum(axis=1) == currents).all()
    assert (gone[:, 3:].sum(axis=1) == voltages).all()
    kept = np.broadcast_to(~gone[:, None, :], seen.shape)
    np.testing.assert_array_equal(seen[kept], clean.samples[kept])


def test_a_stuck_channel_stays_at_a_value_that_it_had(clean: Episodes) -> None:
    seen = altered("stuck_channel", clean, 2).samples
    held = np.flatnonzero((seen[:, -1] == seen[:, -2]).any(axis=1))
    assert len(held) > 30
    for record in held:
        differ = np.flatnonzero((seen[record] != clean.samples[record]).any(axis=0))
        assert len(differ) <= 1
        assert (differ < 3).all()


def test_a_lost_phase_is_lost_in_current_and_voltage_for_as_long_as_it_says(clean: Episodes) -> None:
    seen = altered("phase_loss", clean, 3).samples
    changed = seen != clean.samples
    assert (seen[changed] == 0).all()
    assert (changed.any(axis=1).sum(axis=1) == 2).all()
    assert changed.any(axis=2).sum(axis=1).max() <= 4 * SAMPLES_PER_CYCLE
    assert CONDITIONS["phase_loss"].value(3) == 4


def test_swapping_phases_renames_the_labels_as_the_meter_sees_them(clean: Episodes) -> None:
    for level in range(1, LEVELS + 1):
        swapped = altered("swapped_phases", clean, level)
        assert ((swapped.labels == 0) == (clean.labels == 0)).all()
        np.testing.assert_allclose(np.sort(swapped.samples[:, :, :3], axis=2), np.sort(clean.samples[:, :, :3], axis=2))
    labels = np.array([[CLASSES.index(name) for name in ("none", "AG", "BC", "CAG", "ABCG")]], np.int8)
    named = relabelled(labels, np.array([[1, 0, 2]]))
    assert [CLASSES[index] for index in named[0]] == ["none", "BG", "CA", "BCG", "ABCG"]


def test_only_wiring_and_time_change_the_labels(clean: Episodes) -> None:
    for name in ALTERATIONS:
        if name not in ("swapped_phases", "swapped_later", "frequency_ramp"):  # the last one moves them in time
            np.testing.assert_array_equal(altered(name, clean, 5).labels, clean.labels)


def test_reversed_transformers_change_the_sign_of_as_many_channels_as_they_say(clean: Episodes) -> None:
    for level, count in enumerate((3, 1, 1, 2, 2), start=1):
        seen = altered("reversed_ct", clean, level).samples
        turned = (seen == -clean.samples).all(axis=1) & (clean.samples != 0).any(axis=1)
        assert (turned.sum(axis=1) == count).all()


def test_in_a_gap_nothing_new_arrives(clean: Episodes) -> None:
    seen = altered("gap", clean, 4).samples
    still = (np.diff(seen, axis=1) == 0).all(axis=2)
    assert (still.sum(axis=1) >= 32).all()


def test_a_lower_rate_keeps_the_fundamental_and_the_length() -> None:
    t = np.arange(6 * SAMPLES_PER_CYCLE)
    wave = np.repeat(np.cos(2 * np.pi * t / SAMPLES_PER_CYCLE)[None, :, None], 6, axis=2).astype(np.float32)
    clean = Episodes(wave, np.zeros(wave.shape[:2], np.int8), np.ones(wave.shape[:2], bool), ((),), ())
    inner = slice(SAMPLES_PER_CYCLE, -SAMPLES_PER_CYCLE)
    np.testing.assert_allclose(altered("rate", clean, 2).samples[:, inner], wave[:, inner], atol=0.03)
    assert np.abs(altered("rate", clean, 5).samples - wave)[:, inner].max() > 0.1


def test_interpolation_at_the_samples_is_the_samples(clean: Episodes) -> None:
    np.testing.assert_array_equal(resampled(clean.samples, np.arange(100.0)), clean.samples[:, :100])
