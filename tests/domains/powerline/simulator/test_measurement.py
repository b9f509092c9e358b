"""The measurement chain: the effect of each imperfection on a waveform, and the distribution of what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domains.powerline.simulator.episodes import simulate
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.imperfections import (
    jittered,
    lost,
    permuted,
    quantised,
    reversed_polarity,
    stuck,
    with_gaps,
    with_harmonics,
)
from domains.powerline.simulator.measurement import HARSH, USUAL, Faulty, draw_chains, measure, renamed
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

CYCLES = 10
T = np.arange(CYCLES * SAMPLES_PER_CYCLE)
LAG = 2 * np.pi / 3 * np.array([0, 1, 2, 0, 1, 2])
CHANNEL = np.array([[False, True, False, False, False, False]])


def sines(n: int = 1) -> np.ndarray:
    one = np.cos(2 * np.pi / SAMPLES_PER_CYCLE * T[:, None] - LAG)
    return np.repeat(one[None], n, axis=0).astype(np.float32)


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Return the amplitudes (n, orders, 6) of the multiples of the nominal frequency."""
    return np.asarray(np.abs(np.fft.rfft(samples, axis=1))[:, ::CYCLES] * 2 / samples.shape[1])


def test_harmonics_stand_at_their_orders_with_their_parts_and_sequences() -> None:
    parts = np.array([[0.03, 0.05j, -0.02]])
    seen = with_harmonics(sines(), parts)
    amplitude = spectrum(seen)[0]
    np.testing.assert_allclose(amplitude[[1, 3, 5, 7]], np.repeat([[1], [0.03], [0.05], [0.02]], 6, axis=1), atol=1e-5)
    assert amplitude[[0, 2, 4, 6]].max() < 1e-5
    # The third is the same in all phases, the fifth and seventh cancel in the sum.
    np.testing.assert_allclose(
        spectrum(seen[:, :, :3].sum(axis=2, keepdims=True))[0, [3, 5, 7], 0], [0.09, 0, 0], atol=1e-4
    )


def test_jitter_disturbs_in_proportion_to_the_slope_and_none_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(jittered(sines(), np.zeros(1), rng), sines())
    error = jittered(sines(), np.array([0.1]), rng)[0, 1:-1] - sines()[0, 1:-1]
    expected = 0.1 * 2 * np.pi / SAMPLES_PER_CYCLE / np.sqrt(2)
    np.testing.assert_allclose(error.std(axis=0), expected, rtol=0.15)


def test_quantised_samples_are_whole_steps_within_half_a_step() -> None:
    lsb = np.full((1, 6), 0.03)
    seen = quantised(sines(), lsb)
    np.testing.assert_allclose(seen / 0.03, np.round(seen / 0.03), atol=1e-3)
    assert np.abs(seen - sines()).max() <= 0.0151


def test_a_lost_a_stuck_and_a_reversed_channel_leave_the_others_alone() -> None:
    others = ~CHANNEL[0]
    gone, held, turned = (
        lost(sines(), CHANNEL),
        stuck(sines(), CHANNEL, np.array([50])),
        reversed_polarity(sines(), CHANNEL),
    )
    for seen in (gone, held, turned):
        np.testing.assert_array_equal(seen[:, :, others], sines()[:, :, others])
    assert (gone[0, :, 1] == 0).all()
    np.testing.assert_array_equal(held[0, :51, 1], sines()[0, :51, 1])
    assert (held[0, 50:, 1] == sines()[0, 50, 1]).all()
    np.testing.assert_array_equal(turned[0, :, 1], -sines()[0, :, 1])


def test_a_gap_repeats_the_last_value_and_ends() -> None:
    seen = with_gaps(sines(2), np.array([100, 0]), np.array([20, 0]))
    assert (seen[0, 100:120] == seen[0, 99]).all()
    np.testing.assert_array_equal(seen[0, 120:], sines()[0, 120:])
    np.testing.assert_array_equal(seen[1], sines()[0])


def test_swapped_phases_rename_the_class_and_permute_currents_and_voltages_alike() -> None:
    order = np.array([[1, 0, 2]])
    np.testing.assert_array_equal(permuted(sines(), order)[0], sines()[0][:, [1, 0, 2, 4, 3, 5]])
    chain = replace(draw_chains(1, np.random.default_rng(0)), order=order)
    names = [CLASSES[c] for c in renamed(np.arange(12, dtype=np.int8)[None], chain)[0]]
    assert names == ["none", "BG", "AG", "CG", "AB", "CA", "BC", "ABG", "CAG", "BCG", "ABC", "ABCG"]


def test_renaming_follows_a_circular_change_of_phases_in_its_direction() -> None:
    # The input connected as A is phase B: a fault of phase B appears in channel A.
    chain = replace(draw_chains(1, np.random.default_rng(0)), order=np.array([[1, 2, 0]]))
    labels = np.array([[CLASSES.index("BG"), CLASSES.index("ABG")]], np.int8)
    assert [CLASSES[c] for c in renamed(labels, chain)[0]] == ["AG", "CAG"]


@pytest.mark.parametrize("snr_db", [40.0, 25.0, 10.0])
def test_noise_lies_as_far_below_the_nominal_voltage_as_asked(snr_db: float) -> None:
    instruments = replace(USUAL, noise_db=(snr_db, snr_db), saturable=0.0, gain_error=(1e-9, 1e-9))
    rng = np.random.default_rng(2)
    chain = draw_chains(200, rng, instruments)
    chain = replace(chain, offset=np.zeros((200, 6)), lsb=np.full((200, 6), 1e-6))
    error = (measure(sines(200), chain, rng) - sines(200))[:, :, 3:]
    found = 20 * np.log10(np.sqrt(0.5) / error.std())
    assert abs(found - snr_db) < 0.5


def test_what_may_be_wrong_is_drawn_as_often_as_asked() -> None:
    faulty = Faulty(harmonics=0.5, jitter=0.4, lost=0.3, stuck=0.2, reversed=0.3, swapped=0.25, crossed=0.1, gaps=0.1)
    chain = draw_chains(20_000, np.random.default_rng(3), replace(USUAL, faulty=faulty))
    crossed = (chain.order != chain.voltage_order).any(axis=1)
    found = {
        "harmonics": chain.harmonics.any(axis=1),
        "jitter": chain.jitter > 0,
        "lost": chain.lost.any(axis=1),
        "stuck": chain.stuck.any(axis=1),
        "reversed": (chain.gain[:, :3] < 0).all(axis=1),
        "swapped": (chain.order != np.arange(3)).any(axis=1)[~crossed],
        "crossed": crossed,
        "gaps": chain.gap > 0,
    }
    for name, rows in found.items():
        assert abs(rows.mean() - getattr(faulty, name)) < 0.015, name
    assert chain.lost.sum(axis=1).max() == 1
    assert np.abs(chain.harmonics).sum(axis=1).max() <= USUAL.harmonic_part


def test_crossed_voltages_are_connected_in_another_order_than_the_currents_and_the_currents_name_the_class() -> None:
    sound, crossed = (
        simulate(60, seed=9, length_cycles=8, instruments=replace(USUAL, noise_db=(90.0, 90.0), faulty=faulty))
        for faulty in (Faulty(), Faulty(crossed=1.0))
    )
    same_name = 0
    for n, line in enumerate(crossed.lines):
        currents, voltages = str(line["connected"]).split("/")
        assert sorted(currents) == sorted(voltages) == list("ABC")
        assert currents != voltages
        channels = ["ABC".index(phase) for phase in currents] + [3 + "ABC".index(phase) for phase in voltages]
        apart = np.abs(crossed.samples[n] - sound.samples[n][:, channels])
        assert apart.max() < 0.1 * np.abs(sound.samples[n]).max()
        if currents == "ABC":
            assert (crossed.labels[n] == sound.labels[n]).all()
            same_name += 1
    assert 0 < same_name < 30


def test_wrong_instruments_leave_the_records_of_sound_ones_as_they_were() -> None:
    sound = simulate(40, seed=6, length_cycles=4)
    harsh = simulate(40, seed=6, length_cycles=4, instruments=replace(USUAL, faulty=HARSH.faulty))
    same = (sound.samples == harsh.samples).all(axis=(1, 2))
    assert 5 < same.sum() < 35
    assert np.isfinite(harsh.samples).all()


def test_episodes_of_swapped_phases_carry_the_class_that_their_channels_show() -> None:
    swapped = simulate(200, seed=9, length_cycles=8, instruments=replace(USUAL, faulty=Faulty(swapped=1.0)))
    straight = simulate(200, seed=9, length_cycles=8)
    assert ((swapped.labels == 0) == (straight.labels == 0)).all()
    changed = (swapped.labels != straight.labels).any(axis=1)
    # AG stays AG if B and C are swapped; three-phase faults always stay.
    assert 0.3 < changed[(straight.labels != 0).any(axis=1)].mean() < 0.8


@pytest.mark.parametrize("name", ["aron", "residual", "phase_to_phase"])
def test_a_derived_channel_follows_from_the_measured_ones(name: str) -> None:
    instruments = replace(
        USUAL, noise_db=(80.0, 80.0), saturable=0.0, current_base=(1.0, 1.0), faulty=replace(Faulty(), **{name: 1.0})
    )
    rng = np.random.default_rng(4)
    true = sines(8)
    true[:, :, [1, 4]] *= 1.5  # so that there is a zero sequence
    chain = draw_chains(8, rng, instruments)
    seen = measure(true, chain, rng)
    if name == "phase_to_phase":
        assert np.abs(seen[:, :, 3:].sum(axis=2)).max() < 1e-5
    elif name == "aron":
        assert np.abs(seen[:, :, :3].sum(axis=2)).max() < 1e-5
    else:
        expected = true[:, :, :3].sum(axis=2) * chain.residual_gain[:, None]
        np.testing.assert_allclose(seen[:, :, :3].sum(axis=2), expected, atol=0.01)
    assert {chain.describe(k)["derived"] for k in range(8)} == {name}
