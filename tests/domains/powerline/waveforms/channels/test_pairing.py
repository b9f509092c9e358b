"""Voltages go to the currents that they belong to; dead sets and quantities that are no phases stay out."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, Record, open_waveforms
from tests.domains.powerline.waveforms.channels.substations import (
    Group,
    constant,
    currents,
    magnitudes,
    noise,
    three_phases,
    turned,
    voltages,
    write_substation,
)

VOLT, LOAD, FAULT = 63_500.0, 300.0, 3_000.0


def bay(name: str, waves: np.ndarray, quantity: str = "I") -> Group:
    return Group([f"{name} {quantity}{phase}" for phase in "abc"], "A" if quantity == "I" else "V", waves)


def voltages_of(record: Record) -> dict[str, str]:
    """Return the name of phase A's voltage by the name of phase A's current, without their numbers."""
    return {
        line.sources["ia"].partition(" ")[2]: line.sources.get("va", " none").partition(" ")[2] for line in record.lines
    }


def codes(record: Record, level: str | None = None) -> set[str]:
    return {finding.code for finding in record.findings if level in (None, finding.level)}


def test_a_line_without_voltages_of_its_own_takes_those_of_the_busbar(tmp_path: Path) -> None:
    groups = [bay("BUS", voltages(VOLT, sag=0.4), "U")]
    groups += [bay(f"Q{k}", noise(8.0, seed=k), "U") for k in (2, 3, 4)]
    groups += [
        bay("Q1", currents(LOAD, fault=FAULT)),
        *(bay(f"Q{k}", noise(0.5, seed=k)) for k in (2, 3, 4)),
    ]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert voltages_of(record) == {"Q1 Ia": "BUS Ua"}
    assert not codes(record, "warning")
    dead = [decision for decision in record.decisions if "dead" in decision.reason]
    assert len(dead) == 6


def test_voltages_of_the_line_are_preferred_to_those_of_the_busbar(tmp_path: Path) -> None:
    groups = [bay("Bus", voltages(VOLT, sag=0.4), "U"), bay("North", voltages(VOLT, sag=0.38, angle=0.02), "U")]
    groups += [bay("North", currents(LOAD, fault=FAULT)), bay("South", currents(LOAD))]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert voltages_of(record) == {"North Ia": "North Ua", "South Ia": "Bus Ua"}


def test_a_number_that_lines_and_busbars_share_says_nothing(tmp_path: Path) -> None:
    groups = [bay("Bus 1", voltages(VOLT, sag=0.4), "U"), bay("Bus 2", noise(8.0), "U")]
    groups += [bay("Line 2", currents(LOAD, fault=FAULT))]
    assert voltages_of(open_waveforms(write_substation(tmp_path, groups))) == {"Line 2 Ia": "Bus 1 Ua"}


def test_equal_voltages_are_one_choice(tmp_path: Path) -> None:
    groups = [bay("Bus A", voltages(VOLT, sag=0.4), "U"), bay("Bus B", voltages(0.98 * VOLT, sag=0.4), "U")]
    groups += [bay("F1", currents(LOAD, fault=FAULT)), bay("F2", currents(0.5 * LOAD))]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert set(voltages_of(record).values()) == {"Bus A Ua"}
    assert not any(line.alternatives for line in record.lines)


def test_the_voltages_that_sag_belong_to_the_line_with_the_fault(tmp_path: Path) -> None:
    groups = [bay("Bus A", voltages(VOLT), "U"), bay("Bus B", voltages(VOLT, sag=0.4), "U")]
    groups += [bay("F1", currents(LOAD, fault=FAULT))]
    assert voltages_of(open_waveforms(write_substation(tmp_path, groups))) == {"F1 Ia": "Bus B Ua"}


def test_the_angle_of_the_load_excludes_voltages_of_another_network(tmp_path: Path) -> None:
    groups = [bay("Bus A", voltages(VOLT, angle=1.4, sag=0.4), "U"), bay("Bus B", voltages(VOLT, sag=0.6), "U")]
    groups += [bay("F1", currents(LOAD, fault=FAULT))]
    assert voltages_of(open_waveforms(write_substation(tmp_path, groups))) == {"F1 Ia": "Bus B Ua"}


def test_an_open_choice_gives_alternatives_and_options_to_paste(tmp_path: Path) -> None:
    groups = [bay("Bus A", voltages(VOLT, sag=0.5), "U"), bay("Bus B", voltages(VOLT, sag=0.4, angle=0.2), "U")]
    groups += [bay("F1", currents(LOAD, fault=FAULT))]
    path = write_substation(tmp_path, groups)
    record = open_waveforms(path)
    (line,) = record.lines
    assert [other.sources["va"] for other in (line, *line.alternatives)] == ["1 Bus A Ua", "4 Bus B Ua"]
    (finding,) = [finding for finding in record.findings if finding.code == "ambiguous-voltages"]
    for option in (line.channels_option, line.alternatives[0].channels_option):
        assert f"--channels '{option}'" in finding.message
        (chosen,) = open_waveforms(path, options=ReadOptions(channels=option)).lines
        assert chosen.channels_option == option
        assert not chosen.alternatives


def test_sets_without_common_names_are_tried_in_the_order_of_the_file_first(tmp_path: Path) -> None:
    groups = [bay("red", currents(LOAD, fault=FAULT)), bay("blue", currents(LOAD))]
    groups += [bay("one", voltages(VOLT, sag=0.4), "U"), bay("two", voltages(VOLT, sag=0.5, angle=0.3), "U")]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert voltages_of(record) == {"red Ia": "one Ua", "blue Ia": "two Ua"}
    assert [len(line.alternatives) for line in record.lines] == [1, 1]


def test_a_record_of_dead_channels_has_no_line_and_says_why(tmp_path: Path) -> None:
    groups = [bay("Q1", noise(0.5)), bay("Q1", noise(8.0, seed=3), "U")]
    path = write_substation(tmp_path, groups)
    record = open_waveforms(path)
    assert record.lines == ()
    assert "no set of channels is live: 1 2 3 (Q1 Ia Q1 Ib Q1 Ic): dead" in record.no_line
    (line,) = open_waveforms(path, options=ReadOptions(channels="ia=1 ib=2 ic=3 va=4 vb=5 vc=6")).lines
    assert "different values" in line.dead


@pytest.mark.parametrize("share", [1e-5, 2e-4, 8e-4])
def test_a_thousandth_of_the_other_voltages_is_dead(tmp_path: Path, share: float) -> None:
    groups = [bay("Q1", currents(LOAD, fault=FAULT)), bay("Q1", voltages(share * VOLT), "U")]
    groups += [bay("Bus", voltages(VOLT, sag=0.4), "U")]
    assert voltages_of(open_waveforms(write_substation(tmp_path, groups))) == {"Q1 Ia": "Bus Ua"}


def test_voltages_in_kilovolts_without_a_unit_are_not_dead(tmp_path: Path) -> None:
    groups = [bay("Q1", currents(LOAD, fault=FAULT)), bay("Q1", voltages(VOLT / 1500, sag=0.4), "U")]
    groups += [bay("Q2", currents(LOAD)), bay("Q2", voltages(VOLT, sag=0.4), "U")]
    for k in (1, 3):
        groups[k] = Group(groups[k].names, "", groups[k].waves)
    assert voltages_of(open_waveforms(write_substation(tmp_path, groups))) == {"Q1 Ia": "Q1 Ua", "Q2 Ia": "Q2 Ua"}


@dataclass(frozen=True)
class Family:
    """Names of the channels of bays and busbars."""

    current: str
    voltage: str


FAMILIES = (
    Family("{place} I{phase}", "{place} U{phase}"),
    Family("I{phase}_{place}", "U{phase}_{place}"),
    Family("{place}_I{phase}", "{place}_V{phase}"),
    Family("{place} IL{number}", "{place} UL{number}"),
    Family("{place}.I{phase}", "{place}.V{phase}N"),
)
EXTRAS = (
    Group(["VDC_G1", "IDC_G1"], "", constant([60.0, 270.0])),
    Group(["dI1", "dI2"], "A", magnitudes([2000.0, 1500.0])),
    Group(["Field U", "Field V", "Field W"], "V", constant([80.0, 81.0, 82.0])),
)


def named(family: Family, kind: str, place: str, waves: np.ndarray) -> Group:
    form = family.current if kind == "current" else family.voltage
    names = [form.format(place=place, phase=phase, number=number) for number, phase in enumerate("ABC", 1)]
    return Group(names, "A" if kind == "current" else "V", waves)


@settings(max_examples=120)
@given(
    family=st.sampled_from(FAMILIES),
    bays=st.lists(st.tuples(st.booleans(), st.sampled_from(["own", "dead", "none"])), min_size=1, max_size=5),
    extras=st.sets(st.sampled_from(range(len(EXTRAS)))),
    seed=st.integers(0, 1000),
)
def test_every_live_line_of_a_station_has_its_currents_and_live_voltages(
    family: Family, bays: list[tuple[bool, str]], extras: set[int], seed: int
) -> None:
    rng = random.Random(seed)
    groups = [named(family, "voltage", "BUS", voltages(VOLT, sag=0.4)), *(EXTRAS[k] for k in sorted(extras))]
    expected: dict[str, str] = {}
    for number, (alive, transformer) in enumerate(bays, 1):
        place = f"Q{number}"
        load = LOAD * 2.0 ** rng.randint(-3, 3)
        flowing = named(
            family,
            "current",
            place,
            currents(load, fault=10 * load) if alive else noise(load / 400, seed=number),
        )
        groups.append(flowing)
        if transformer != "none":
            waves = voltages(0.99 * VOLT, sag=0.41) if transformer == "own" else noise(VOLT / 8000, seed=number)
            groups.append(named(family, "voltage", place, waves))
        if alive:
            source = place if transformer == "own" else "BUS"
            expected[flowing.names[0]] = named(family, "voltage", source, flowing.waves).names[0]
    rng.shuffle(groups)
    with tempfile.TemporaryDirectory() as folder:
        record = open_waveforms(write_substation(Path(folder), groups))
    if expected:
        assert voltages_of(record) == expected
        assert not any(line.missing or line.alternatives for line in record.lines)
    else:
        assert not any("ia" in line.sources for line in record.lines)


def test_rotating_magnitudes_of_three_phases_are_no_line(tmp_path: Path) -> None:
    groups = [bay("F1", currents(LOAD, fault=FAULT)), bay("F1", voltages(VOLT, sag=0.4), "U")]
    groups += [Group(["F1 mean Ia", "F1 mean Ib", "F1 mean Ic"], "A", magnitudes([FAULT, LOAD, LOAD]))]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert [line.sources["ia"] for line in record.lines] == ["1 F1 Ia"]


def test_a_burst_of_current_on_an_idle_line_is_alive(tmp_path: Path) -> None:
    idle = three_phases(turned(0.01))
    idle[500:560, :] += currents(LOAD)[500:560, :]
    groups = [bay("F1", idle), bay("F1", voltages(VOLT), "U")]
    assert len(open_waveforms(write_substation(tmp_path, groups)).lines) == 1
