"""Names as recorders of several makers form them: running numbers, neutrals, equipment and lines of one circuit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from domains.powerline.waveforms import open_waveforms
from domains.powerline.waveforms.channels.naming import PhaseSet, phase_sets
from domains.powerline.waveforms.record import RawChannel
from tests.domains.powerline.waveforms.channels.substations import Group, currents, voltages, write_substation

VOLT, LOAD, FAULT = 63_500.0, 300.0, 3_000.0


def sets_of(names: Sequence[str], units: Sequence[str] = (), phases: Sequence[str] = ()) -> list[PhaseSet]:
    empty = [""] * len(names)
    columns = zip(names, units or empty, phases or empty, strict=True)
    return phase_sets([RawChannel(k, *fields) for k, fields in enumerate(columns, 1)])[0]


def residuals(names: Sequence[str], found: Sequence[PhaseSet]) -> list[str]:
    return ["" if one.residual is None else names[one.residual] for one in found]


def group(names: Sequence[str], unit: str, waves: object, circuit: str = "") -> Group:
    return Group(names, unit, waves, circuit=circuit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "form", ["{mu}#{n:02}_Bay 5 current {p}", "{mu}:{n}: I{p}", "{mu}/{n}_{p}相电流", "{mu}.{n}.I{p} 1"]
)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_number_inside_the_name_that_only_counts_channels_parts_no_set(form: str, step: int) -> None:
    names = [form.format(mu=mu, n=step * k + 2, p=p) for mu in ("MU07", "MU0B") for k, p in enumerate("ABC")]
    assert [found.channels for found in sets_of(names, ["A"] * 6)] == [(0, 1, 2), (3, 4, 5)]


def test_numbers_of_lines_inside_names_are_no_running_numbers() -> None:
    names = [f"Feeder {line} I{phase} x" for line in (1, 2, 3) for phase in "ABC"]
    assert [found.channels for found in sets_of(names)] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]


@pytest.mark.parametrize("letters", ["PQ", "XU", "UV"])
def test_terminals_that_are_counted_alike_keep_their_neutrals(letters: str) -> None:
    ends = [f"{q}{p}" for q, last in (("I", "G"), ("V", "N")) for p in f"ABC{last}"]
    names = [f"{letter}{k}-{end}" for letter in letters for k, end in enumerate(ends, 1)]
    found = sets_of(names, ["A"] * 4 + ["V"] * 4 + ["A"] * 4 + ["V"] * 4)
    assert [one.channels for one in found] == [(0, 1, 2), (4, 5, 6), (8, 9, 10), (12, 13, 14)]
    assert residuals(names, found) == [names[3], names[7], names[11], names[15]]


@pytest.mark.parametrize(
    ("names", "neutrals"),
    [
        ("IA IB IC IN Ia Ib Ic", ["IN", ""]),
        ("IA IB IC Ia Ib Ic IN", ["", ""]),
        ("IA IB IC IN Ia Ib Ic In", ["IN", "In"]),
        ("Ia Ib Ic Id Ie In2", ["In2"]),
        ("Ia Ib Ic Ie", ["Ie"]),
        ("Ia Ib Ic 3I0m", [""]),
        ("Ia Ib Ic 3I0п", [""]),
        ("Ia Ib Ic 3I0расч", ["3I0расч"]),
        ("Ua Ub Uc Uнф Uкф 3U0расч.", ["3U0расч."]),
    ],
)
def test_the_neutral_of_a_set(names: str, neutrals: list[str]) -> None:
    given = names.split()
    assert residuals(given, sets_of(given)) == neutrals


@pytest.mark.parametrize(
    "names",
    [
        "110 LINE 4 {}-PH CURR|R Y B|110 LINE 4 N CURR",
        "FDR 6 PH {} AMPS|A B C|FDR 6 RES AMPS",
        "FIDER-3 {} FAZI AKIM|R S T|FIDER-3 NOTR AKIM",
        "Measuring point I-3ph 4:I {}|A B C|Measuring point I-3ph 4:IN",
        "ТТ-35 2 сек I{}|a b c|ТТ-35 2 сек 3I0",
        "7B站变{}相电流Iac_3|A B C|7B站变零序电流Iac_3I0",
    ],
)
def test_a_neutral_is_told_by_the_words_that_its_set_has(names: str) -> None:
    form, phases, neutral = names.split("|")
    given = [*(form.format(phase) for phase in phases.split()), neutral]
    found = sets_of(given, ["A"] * 4, [*phases.split(), "N"])
    assert [one.channels for one in found] == [(0, 1, 2)]
    assert "3I0" in neutral or residuals(given, found) == [neutral]


@pytest.mark.parametrize("word", ["套", "段母线", "柜", "屏"])
def test_letters_of_several_pieces_of_equipment_are_no_phases(word: str) -> None:
    assert not sets_of([f"装置{letter}{word}Ud2" for letter in "ABC"], ["V"] * 3)


def test_a_phase_is_found_beside_voltages_named_ac() -> None:
    names = [f"35B极Ⅰ换流变{phase}相电压Uac_L{k}" for k, phase in enumerate("ABC", 1)]
    assert [found.channels for found in sets_of(names, ["V"] * 3, "ABC")] == [(0, 1, 2)]


@pytest.mark.parametrize(
    "names",
    [
        *(tuple(f"{quantity}ac{phase}" for phase in "ABC") for quantity in "IUV"),
        tuple(f"{phase}상 전류" for phase in "ABC"),
        tuple(f"Arus {phase}" for phase in "RST"),
        tuple(f"{colour} phase current" for colour in ("Red", "Yellow", "Blue")),
        tuple(f"FDR 2 {colour} PH VOLTS" for colour in ("RED", "WHITE", "BLUE")),
        tuple(f"AA9TCTR{k}.Amp.inst" for k in (1, 2, 3)),
        tuple(f"AA9TVTR{k}.Vol.inst" for k in (1, 2, 3)),
    ],
)
def test_phases_of_names_of_other_kinds(names: Sequence[str]) -> None:
    units = ["V" if "V" in names[0] or names[0].startswith("U") else "A"] * 3
    assert [found.channels for found in sets_of(names, units)] == [(0, 1, 2)]


@pytest.mark.parametrize("neutral", ["Nollström", "Nulstrøm", "N상 전류", "Corrente omopolare", "3Io"])
def test_words_for_the_neutral(neutral: str) -> None:
    names = [*(f"I{phase}" for phase in "ABC"), neutral]
    assert residuals(names, sets_of(names, ["A"] * 4)) == [neutral]


def test_a_phase_is_found_between_words_without_spaces() -> None:
    names = [f"CurrentAtNorthPhase{phase}LineY" for phase in "ABC"]
    assert [found.channels for found in sets_of(names)] == [(0, 1, 2)]


@pytest.mark.parametrize("circuit", ["kA", "TCTR1.Amp", "c"])
def test_lines_of_one_circuit_are_named_by_their_labels(tmp_path: Path, circuit: str) -> None:
    groups = [group([f"{bay} I{p}" for p in "abc"], "A", currents(LOAD), circuit) for bay in ("North", "South")]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert [line.name for line in record.lines] == ["station/North", "station/South"]


def test_circuits_part_lines_of_the_same_label(tmp_path: Path) -> None:
    groups = [group([f"W{k} I{p}" for p in "abc"], "A", currents(LOAD), bay) for bay in ("Q1", "Q2") for k in (1, 2)]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert [line.name.split("/")[1] for line in record.lines] == ["Q1 W1", "Q1 W2", "Q2 W1", "Q2 W2"]


@pytest.mark.parametrize(
    ("current", "own", "other"),
    [
        ("2СШ-35 ВЛ1", "2СШ-35 ТН", "1СШ-35 ТН"),
        ("Q4开关", "35kV母线", "Q5开关"),
        ("LINE 220-2", "BUS 220", "LINE 220-1"),
        ("Fider 2", "Barra", "Fider 3"),
    ],
)
def test_voltages_of_another_number_belong_to_another_line(tmp_path: Path, current: str, own: str, other: str) -> None:
    sources = {other: voltages(VOLT, angle=0.5), own: voltages(VOLT, sag=0.4)}
    groups = [group([f"{name} U{p}" for p in "abc"], "V", waves) for name, waves in sources.items()]
    groups.append(group([f"{current} I{p}" for p in "abc"], "A", currents(LOAD, fault=FAULT)))
    groups.append(group([f"{other} I{p}" for p in "abc"], "A", currents(LOAD, angle=0.2)))
    record = open_waveforms(write_substation(tmp_path, groups))
    line = next(line for line in record.lines if current in line.sources["ia"])
    assert own in line.sources["va"]
    assert not line.alternatives


@pytest.mark.parametrize("remote", ["Rmt", "remote", "REMOTA", "REM1", "对侧"])
def test_currents_of_the_other_end_take_no_voltages_of_this_end(tmp_path: Path, remote: str) -> None:
    groups = [group([f"U{p}" for p in "abc"], "V", voltages(VOLT, sag=0.5))]
    groups += [group([f"I{p}{end}" for p in "abc"], "A", currents(LOAD)) for end in ("", f"_{remote}")]
    record = open_waveforms(write_substation(tmp_path, groups))
    here, there = record.lines
    assert here.sources["va"] == "1 Ua"
    assert "va" not in there.sources
    assert any("other end" in finding.message for finding in record.findings)
    assert not [finding for finding in record.findings if finding.level == "warning"]


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_a_record_without_voltages_has_one_finding_for_it(tmp_path: Path, lines: int) -> None:
    groups = [group([f"Q{k} I{phase}" for phase in "ABC"], "A", currents(LOAD)) for k in range(lines)]
    record = open_waveforms(write_substation(tmp_path, groups))
    assert len(record.lines) == lines
    assert [finding.code for finding in record.findings if finding.level == "warning"] == ["no-voltages"]


def test_a_neutral_that_is_not_needed_is_listed_with_the_reason(tmp_path: Path) -> None:
    waves = currents(LOAD, fault=FAULT)
    groups = [group(["IA", "IB", "IC"], "A", waves), group(["3I0"], "A", waves.sum(axis=1, keepdims=True))]
    groups.append(group(["VA", "VB", "VC"], "V", voltages(VOLT, sag=0.5)))
    record = open_waveforms(write_substation(tmp_path, groups))
    assert [one.reason for one in record.decisions if "3I0" in one.channels] == [
        "residual value of a set with all its phases"
    ]
