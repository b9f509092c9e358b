"""Phases that follow from other channels are computed; only what does not follow is missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.waveforms import Segment
from domains.powerline.waveforms.record import CHANNELS
from domains.powerline.waveforms.signal.assembly import Assembled, assembled

Array = NDArray[np.float64]
RATE = 1600.0
CLASSES = ("AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC")
TURN = np.exp(-2j * np.pi * np.arange(3) / 3)


def line_waves(
    kind: str = "", *, hz: float = 50.0, seconds: float = 0.4, fault_s: float = 0.2, sag: float = 0.3
) -> Array:
    """Return ia ib ic va vb vc of a line in A and V, float64 (t, 6), with a fault from ``fault_s`` for 0.1 s."""
    t = np.arange(round(seconds * RATE)) / RATE
    volts, amps = 63_500 * np.sqrt(2) * TURN, 300 * np.sqrt(2) * TURN * np.exp(-0.3j)
    faulty_volts, faulty_amps = volts.copy(), amps.copy()
    hit = ["ABC".index(letter) for letter in kind.strip("G")]
    if len(hit) == 2 and "G" not in kind:
        one, two = hit
        middle = (volts[one] + volts[two]) / 2
        faulty_volts[hit] = middle + sag * (volts[hit] - middle)
        loop = 3000 * (TURN[one] - TURN[two]) * np.exp(-1.35j)
        faulty_amps[hit] += np.array([loop, -loop])
    elif hit:
        faulty_volts[hit] *= sag
        faulty_amps[hit] = 4000 * TURN[hit] * np.exp(-1.35j)
    on = ((t >= fault_s) & (t < fault_s + 0.1))[:, None]
    states = np.where(on, np.concatenate([faulty_amps, faulty_volts]), np.concatenate([amps, volts]))
    return np.asarray((states * np.exp(2j * np.pi * hz * t)[:, None]).real)


def roles_of(waves: Array) -> dict[str, NDArray[np.float32]]:
    """Return the waveform of every role that a line may have."""
    ia, ib, ic, va, vb, vc = waves.T
    roles = dict(zip(CHANNELS, waves.T, strict=True))
    roles |= {"in": ia + ib + ic, "vab": va - vb, "vbc": vb - vc, "vca": vc - va}
    roles |= {"vn": va + vb + vc, "v0": (va + vb + vc) / 3}
    return {role: wave.astype(np.float32) for role, wave in roles.items()}


def assemble(waves: dict[str, NDArray[np.float32]]) -> Assembled:
    rows = len(next(iter(waves.values())))
    return assembled(waves, rows, "line", [Segment(0, rows, RATE, 0.0)], 50.0)


def codes(line: Assembled) -> list[str]:
    return [finding.code for finding in line.findings]


def only(waves: Array, *roles: str, **factors: float) -> dict[str, NDArray[np.float32]]:
    every = roles_of(waves)
    return {role: every[role] * np.float32(factors.get(role, 1.0)) for role in roles}


def assert_same(line: Assembled, waves: Array, columns: slice) -> None:
    assert line.samples[:, columns] == pytest.approx(waves[:, columns], rel=1e-3, abs=0.002 * np.abs(waves[:, 3]).max())


@pytest.mark.parametrize("third", ["ia", "ib", "ic"])
@pytest.mark.parametrize("kind", ["", *CLASSES])
def test_the_third_current_follows_from_the_residual(kind: str, third: str) -> None:
    waves = line_waves(kind)
    two = [role for role in ("ia", "ib", "ic") if role != third]
    line = assemble(only(waves, *two, "in"))
    assert line.missing == ("va", "vb", "vc")
    assert line.samples[:, :3] == pytest.approx(waves[:, :3], abs=0.01)
    assert codes(line) == ["computed"]
    assert line.findings[0].message == f"computed from other channels: {third} as in − {two[0]} − {two[1]}"


@pytest.mark.parametrize("factor", [-1.0, 3.0, -3.0])
@pytest.mark.parametrize("kind", ["AG", "BG"])
def test_a_residual_of_the_other_sign_or_of_a_third_is_recognised_by_the_healthy_phases(
    kind: str, factor: float
) -> None:
    waves = line_waves(kind)
    line = assemble(only(waves, "ia", "ib", "in", **{"in": 1 / factor}))
    assert line.samples[:, :3] == pytest.approx(waves[:, :3], abs=0.01)
    assert codes(line) == ["sum-scaled", "computed"]


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["", *CLASSES]),
    roles=st.sets(st.sampled_from(["va", "vb", "vc", "vab", "vbc", "vca", "vn", "v0"])),
    sag=st.floats(0.05, 0.9),
)
def test_voltages_that_follow_are_computed_and_only_others_are_missing(kind: str, roles: set[str], sag: float) -> None:
    waves = line_waves(kind, sag=sag)
    line = assemble(only(waves, "ia", "ib", "ic", *sorted(roles)))
    rows = {"va": (1, 0, 0), "vb": (0, 1, 0), "vc": (0, 0, 1), "vab": (1, -1, 0), "vbc": (0, 1, -1), "vca": (-1, 0, 1)}
    rows |= {"vn": (1, 1, 1), "v0": (1, 1, 1)}
    rank = np.linalg.matrix_rank(np.array([rows[role] for role in roles])) if roles else 0
    own = roles & {"va", "vb", "vc"}
    if rank == 3:
        assert not line.missing
        assert_same(line, waves, slice(3, 6))
    elif own:
        assert set(line.missing) == {"va", "vb", "vc"} - own
    else:
        pairs = len(roles & {"vab", "vbc", "vca"})
        assert bool(line.missing) == (pairs < 2)
        assert ("no-ground-voltages" in codes(line)) == (pairs >= 2)


@pytest.mark.parametrize("factor", [-1.0, np.sqrt(3), 3.0])
@pytest.mark.parametrize("kind", ["AG", "BG", "CG"])
def test_the_ratio_of_an_open_delta_winding_is_recognised(kind: str, factor: float) -> None:
    waves = line_waves(kind)
    line = assemble(only(waves, "vab", "vbc", "vn", vn=1 / factor))
    assert_same(line, waves, slice(3, 6))
    assert codes(line) == ["sum-scaled", "computed"]


def test_a_sum_that_does_not_fit_is_not_used() -> None:
    waves = line_waves("AG")
    roles = only(waves, "ia", "ib", "in", "vab", "vbc", "vn")
    t = np.arange(len(waves)) / RATE
    roles["in"] = (5000 * np.cos(2 * np.pi * 50 * t)).astype(np.float32)
    roles["vn"] = (90_000 * np.cos(2 * np.pi * 50 * t)).astype(np.float32)
    line = assemble(roles)
    assert codes(line) == ["sum-not-used", "ground-current-unknown", "sum-not-used", "no-ground-voltages"]
    assert not line.missing


@pytest.mark.parametrize("pair", list(itertools.combinations(("ia", "ib", "ic"), 2)))
@pytest.mark.parametrize("kind", ["", "AB", "BC", "CA", "ABC"])
def test_two_currents_of_a_balanced_load_give_the_third_without_ground(kind: str, pair: tuple[str, str]) -> None:
    waves = line_waves(kind)
    line = assemble(only(waves, *pair))
    assert line.samples[:, :3] == pytest.approx(waves[:, :3], abs=0.01)
    assert codes(line) == ["ground-current-unknown"]


@pytest.mark.parametrize("change", ["size", "angle", "dead", "fault"])
def test_two_currents_that_are_no_balanced_load_give_no_third(change: str) -> None:
    waves = line_waves("AG", fault_s=0.0 if change == "fault" else 0.2)
    waves[:, 1] *= {"size": 0.2, "angle": -1, "dead": 0, "fault": 1}[change]
    line = assemble(only(waves, "ia", "ib"))
    assert line.missing == ("ic", "va", "vb", "vc")


def test_nothing_is_computed_for_six_recorded_phases() -> None:
    waves = line_waves("BCG")
    line = assemble(roles_of(waves))
    assert (line.missing, line.findings) == ((), [])
    assert line.samples == pytest.approx(waves, rel=1e-6)


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["", *CLASSES]),
    hz=st.floats(48, 62),
    sag=st.floats(0.05, 0.95),
    pairs=st.sampled_from([("vab", "vbc"), ("vbc", "vca"), ("vab", "vca"), ("vab", "vbc", "vca")]),
    fault_s=st.floats(0.05, 0.25),
)
def test_the_zero_sequence_of_phase_to_phase_voltages_follows_from_their_change(
    kind: str, hz: float, sag: float, pairs: tuple[str, ...], fault_s: float
) -> None:
    waves = line_waves(kind, hz=hz, sag=sag, fault_s=fault_s)
    rows = len(waves)
    line = assembled(only(waves, "ia", *pairs), rows, "line", [Segment(0, rows, RATE, 0.0)], hz)
    error = np.abs(line.samples[:, 3:] - waves[:, 3:]).max(axis=1) / (63_500 * np.sqrt(2))
    cycle = int(RATE / hz) + 1
    first, last = int(fault_s * RATE), int((fault_s + 0.1) * RATE)
    inside, outside = slice(first + cycle, last - cycle), [*range(first - cycle), *range(last + cycle, rows)]
    assert error[inside].max() < 0.03
    assert error[outside].max() < 0.03
    assert codes(line) == ["no-ground-voltages"]


@pytest.mark.parametrize("roles", [("ia", "ib", "ic"), ()])
def test_a_record_that_begins_in_a_fault_shows_no_zero_sequence_voltage(roles: tuple[str, ...]) -> None:
    waves = line_waves("BG", fault_s=0.0, seconds=0.1)
    line = assemble(only(waves, *roles, "vab", "vbc"))
    assert line.missing == (("va", "vb", "vc") if roles else ("ia", "ib", "ic"))
    assert line.samples[:, 3:].sum(axis=1) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("dead_s", [0.1, 0.5])
def test_an_energised_line_has_a_zero_sequence_voltage_only_in_its_fault(dead_s: float) -> None:
    waves = line_waves("CG", seconds=1.2, fault_s=0.9)
    waves[: int(dead_s * RATE)] *= 1e-4
    line = assemble(only(waves, "ia", "ib", "ic", "vab", "vbc"))
    error = np.abs(line.samples[:, 3:] - waves[:, 3:]).max(axis=1) / (63_500 * np.sqrt(2))
    assert error[int(0.8 * RATE) : int(0.88 * RATE)].max() < 0.02
    assert error[int(0.925 * RATE) : int(0.975 * RATE)].max() < 0.02


@pytest.mark.parametrize("kind", ["ABC", "AB", "BC", "CA"])
@pytest.mark.parametrize("roles", [("vab", "vbc"), ("vbc", "vca"), ("vab", "vca"), ("vab", "vbc", "vca")])
def test_a_fault_without_ground_has_no_zero_sequence_even_where_it_begins_and_ends(
    kind: str, roles: tuple[str, ...]
) -> None:
    line = assemble(only(line_waves(kind), *CHANNELS[:3], *roles))
    zero = np.abs(line.samples[:, 3:].sum(axis=1)) / (63_500 * np.sqrt(2))
    assert zero.max() < 0.02


@pytest.mark.parametrize("kind", ["AG", "BG", "CG"])
def test_the_zero_sequence_begins_and_ends_with_the_fault(kind: str) -> None:
    waves = line_waves(kind)
    line = assemble(only(waves, *CHANNELS[:3], "vab", "vbc"))
    wrong = np.abs(line.samples[:, 3:] - waves[:, 3:]).max(axis=1) > 0.05 * 63_500 * np.sqrt(2)
    assert wrong.mean() < 0.05
