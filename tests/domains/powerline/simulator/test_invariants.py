"""Properties that hold on every line, whatever is drawn: symmetries, limits and energy."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domains.powerline.simulator.discretise import Switches, step_matrices
from domains.powerline.simulator.drive import Sag
from domains.powerline.simulator.faults import CLASSES, classes_of, star
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import Command, Plan, Waveforms, solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks

N = 3  # lines in each example
INCEPTION, LENGTH = 40, 160
CYCLE_OF_PHASES = np.array([1, 2, 0])  # phase B sees what phase A saw

seeds = st.integers(0, 2**32 - 1)
fault_classes = st.sampled_from(CLASSES[1:])
ohms = st.floats(0.01, 100.0)
few = settings(max_examples=12)


def lines(seed: int) -> Network:
    return draw_networks(N, np.random.default_rng(seed))


def with_values(network: Network, **values: np.ndarray) -> Network:
    return Network(**{**vars(network), **values})


def transposed(network: Network) -> Network:
    def balanced(matrices: np.ndarray) -> np.ndarray:
        own = np.trace(matrices, axis1=1, axis2=2) / 3
        mutual = (matrices.sum(axis=(1, 2)) - 3 * own) / 6
        return np.asarray((own - mutual)[:, None, None] * np.eye(3) + mutual[:, None, None] * np.ones((3, 3)))

    return with_values(network, l_line=balanced(network.l_line), c_line=balanced(network.c_line))


def faulted(network: Network, ohm: np.ndarray, inception: int = INCEPTION) -> Waveforms:
    return solve(network, [Plan((Command(inception, "fault", tuple(ohm)),))] * N, LENGTH)


@few
@given(seeds, fault_classes, ohms, st.floats(0.05, 0.5))
def test_an_ohm_on_a_line_at_a_fraction_of_the_voltage_is_as_many_more_on_the_line_itself(
    seed: int, name: str, ohm: float, scale: float
) -> None:
    similar = draw_networks(N, np.random.default_rng(seed), sweep=ParameterSweep(scale=(scale, scale)))
    own, there = lines(seed), star(name, np.full(3, ohm), ohm)
    np.testing.assert_allclose(similar.base_kv, scale * own.base_kv)
    np.testing.assert_allclose(
        faulted(similar, there).samples, faulted(own, there / scale).samples, rtol=1e-3, atol=1e-4
    )


@few
@given(seeds, fault_classes, st.tuples(ohms, ohms, ohms), ohms)
def test_permuting_the_phases_permutes_waveforms_and_classes(
    seed: int, name: str, phases: tuple[float, float, float], ground: float
) -> None:
    network = lines(seed)
    ohm = star(name, np.array(phases), ground)
    back = np.argsort(CYCLE_OF_PHASES)
    turned = with_values(
        network,
        l_line=network.l_line[:, back][:, :, back],
        c_line=network.c_line[:, back][:, :, back],
        angle=network.angle + 2 * np.pi / 3,
    )
    before, after = faulted(network, ohm), faulted(turned, np.append(ohm[:3][back], ohm[3]))
    channels = np.concatenate([CYCLE_OF_PHASES, CYCLE_OF_PHASES + 3])
    scale = float(np.abs(before.samples).max())
    np.testing.assert_allclose(after.samples[:, :, channels], before.samples, atol=1e-5 * scale)
    renamed = {"A": "B", "B": "C", "C": "A", "G": "G"}
    there = {renamed[letter] for letter in name}
    assert {frozenset(CLASSES[c]) for c in np.unique(after.labels)} == {frozenset("none"), frozenset(there)}


@few
@given(seeds, ohms, ohms)
def test_a_balanced_fault_drives_the_same_currents_with_and_without_ground(
    seed: int, ohm: float, ground: float
) -> None:
    network = transposed(lines(seed))
    free, grounded = (faulted(network, star(name, np.full(3, ohm), ground)).samples for name in ("ABC", "ABCG"))
    scale = np.abs(grounded).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(free / scale, grounded / scale, atol=1e-4)


@few
@given(seeds, fault_classes)
def test_a_fault_of_growing_resistance_tends_to_no_fault(seed: int, name: str) -> None:
    network = lines(seed)
    quiet = solve(network, [Plan()] * N, LENGTH).samples
    distance = [
        float(np.abs(faulted(network, star(name, np.full(3, ohm), ohm)).samples - quiet).max())
        for ohm in (1.0, 1e3, 1e6)
    ]
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 1e-2


@few
@given(seeds, fault_classes, ohms, st.lists(st.booleans(), min_size=6, max_size=6))
def test_without_sources_a_line_never_gains_energy(seed: int, name: str, ohm: float, closed: list[bool]) -> None:
    network = lines(seed)
    poles = np.tile(np.array(closed, float), (N, 1))
    switches = Switches(poles[:, :3], poles[:, 3:], np.tile(star(name, np.full(3, ohm), ohm), (N, 1)), np.zeros((N, 3)))
    step = step_matrices(network, switches)[:, :9, :9]
    m = network.position[:, None, None]
    state = np.random.default_rng(seed).standard_normal((N, 9, 1))
    state[:, :6, 0] *= poles  # an open pole carries nothing

    def energy(x: np.ndarray) -> np.ndarray:
        local, remote, node = x[:, 0:3], x[:, 3:6], x[:, 6:9]
        stored = local.swapaxes(1, 2) @ (network.l_local + m * network.l_line) @ local
        stored = stored + remote.swapaxes(1, 2) @ (network.l_remote + (1 - m) * network.l_line) @ remote
        return np.asarray(stored + node.swapaxes(1, 2) @ network.c_line @ node)[:, 0, 0] / 2

    before = energy(state)
    for _ in range(200):
        state = step @ state
        after = energy(state)
        assert (after <= before * (1 + 1e-9)).all()
        before = after


@few
@example(seed=899633, name="AG", ohm=5.0)
@given(seeds, fault_classes, ohms)
def test_a_fault_dies_out_when_both_sources_are_taken_away(seed: int, name: str, ohm: float) -> None:
    network = lines(seed)
    gone = Sag(0.03, 100.0, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0.002)
    plan = Plan((Command(INCEPTION, "fault", tuple(star(name, np.full(3, ohm), ohm))),), (gone,))
    samples = np.abs(solve(network, [plan] * N, 30 * SAMPLES_PER_CYCLE).samples)
    first, last = samples[:, : 2 * SAMPLES_PER_CYCLE].max(axis=(1, 2)), samples[:, -SAMPLES_PER_CYCLE:].max(axis=(1, 2))
    assert (last < 0.1 * first).all()
    tenths = samples[:, -20 * SAMPLES_PER_CYCLE :].reshape(N, 10, -1).max(axis=2)
    # Two oscillations of nearly the same frequency beat: what is left of them may rise for two cycles.
    assert (tenths[:, 1:] <= np.maximum(tenths[:, :-1] * 1.01, 1e-4 * first[:, None])).all()


@few
@given(seeds, fault_classes, ohms)
def test_sixty_hertz_is_fifty_hertz_in_faster_time(seed: int, name: str, ohm: float) -> None:
    ratio = 60.0 / 50.0
    fifty = draw_networks(N, np.random.default_rng(seed), 50.0)
    slower = {part: getattr(fifty, part) / ratio for part in ("l_local", "l_remote", "l_line", "c_line")}
    sixty = with_values(fifty, nominal_hz=fifty.nominal_hz * ratio, frequency_hz=fifty.frequency_hz * ratio, **slower)
    resistances = star(name, np.full(3, ohm), ohm)
    a, b = faulted(fifty, resistances), faulted(sixty, resistances)
    np.testing.assert_allclose(a.samples, b.samples, atol=1e-4 * float(np.abs(a.samples).max()))
    np.testing.assert_array_equal(a.labels, b.labels)


@given(st.permutations(range(3)), fault_classes)
def test_the_class_of_a_permuted_star_is_the_permuted_class(order: list[int], name: str) -> None:
    ohm = star(name, np.ones(3), 1.0)
    moved = np.append(ohm[:3][order], ohm[3])
    found = CLASSES[int(classes_of(moved[None])[0])]
    expected = {"ABC"[k] for k in range(3) if "ABC"[order[k]] in name} | set("G" if name.endswith("G") else "")
    assert set(found) == expected
