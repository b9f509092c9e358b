"""The sets of three that names, units, phase fields and circuits show."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms.channels.naming import PhaseSet, kind_of, phase_sets
from domains.powerline.waveforms.record import RawChannel
from domains.powerline.waveforms.units import primary_factor, rated_amperes, read_unit, unit_of
from tests.domains.powerline.waveforms.channels.name_families import (
    CALCULATED,
    CURRENT_UNITS,
    FAMILIES,
    NO_UNITS,
    VOLTAGE_UNITS,
    Family,
    Variant,
    fitted,
    record_of,
)

VARIANTS = st.builds(
    Variant,
    lines=st.integers(1, 3),
    units=st.one_of(
        st.tuples(st.sampled_from(CURRENT_UNITS), st.sampled_from(VOLTAGE_UNITS)),
        st.tuples(st.sampled_from(NO_UNITS), st.sampled_from(NO_UNITS)),
    ),
    fields=st.sampled_from(["", "letters", "small", "lines", "to neutral"]),
    order=st.sampled_from(["by line", "by quantity", "by phase", "shuffled"]),
    seed=st.integers(0, 1 << 16),
    neutral=st.booleans(),
    pairs=st.booleans(),
    extras=st.sampled_from([0, 3, 30]),
    circuits=st.booleans(),
    two=st.booleans(),
)
LATIN = ("IA", "IB", "IC", "VA", "VB", "VC")


def channels_of(
    names: Sequence[str], units: Sequence[str] = (), phases: Sequence[str] = (), circuits: Sequence[str] = ()
) -> list[RawChannel]:
    empty = [""] * len(names)
    columns = (names, units or empty, phases or empty, circuits or empty)
    return [RawChannel(k, *fields) for k, fields in enumerate(zip(*columns, strict=True), 1)]


def members(names: Sequence[str], found: PhaseSet) -> tuple[str | None, ...]:
    return tuple(None if index is None else names[index] for index in found.channels)


def sets_of(*names: str, units: Sequence[str] = (), phases: Sequence[str] = ()) -> list[tuple[str | None, ...]]:
    return [members(names, found) for found in phase_sets(channels_of(names, units, phases))[0]]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
@settings(max_examples=40)
@given(variant=VARIANTS)
def test_the_sets_of_a_family_of_names_are_those_that_were_written(family: Family, variant: Variant) -> None:
    channels, expected = record_of(family, fitted(family, variant))
    sets, unused = phase_sets(channels)
    found = [(one.kind, one.pairs, one.channels, one.residual, one.residual_is_third) for one in sets]
    wanted = [(one.kind, one.pairs, one.channels, one.residual, one.third) for one in expected]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    used = {k for one in sets for k in (*one.channels, one.residual) if k is not None}
    assert used.isdisjoint(unused)
    assert used | set(unused) == set(range(len(channels)))
    assert all(unused.values())
    assert all(one.why for one in sets)


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if not one.arbitrary and len(one.lines) > 1], ids=lambda one: one.title
)
@settings(max_examples=20)
@given(variant=VARIANTS)
def test_labels_tell_the_lines_apart_and_are_the_same_for_voltages(family: Family, variant: Variant) -> None:
    sets, _ = phase_sets(record_of(family, fitted(family, variant))[0])
    currents = [one.label for one in sets if one.kind == "current"]
    assert len(set(currents)) == len(currents)


@given(
    family=st.sampled_from([one for one in FAMILIES if not one.arbitrary and "{k" not in one.current]),
    variant=VARIANTS,
    seed=st.integers(0, 1 << 16),
)
def test_the_order_of_the_channels_does_not_matter(family: Family, variant: Variant, seed: int) -> None:
    channels = record_of(family, fitted(family, variant))[0]
    shuffled = random.Random(seed).sample(channels, len(channels))

    def numbers(given_channels: Sequence[RawChannel]) -> set[tuple[int | None, ...]]:
        sets = phase_sets(given_channels)[0]
        return {tuple(None if k is None else given_channels[k].number for k in one.channels) for one in sets}

    assert numbers(shuffled) == numbers(channels)


LETTERS = st.text(st.sampled_from("ABCLNRSTUVWIE0123 _-:.#()абвАВСф相电流母线Ⅰ"), max_size=40)


@given(
    st.lists(
        st.builds(
            RawChannel,
            number=st.integers(1, 99),
            name=st.one_of(LETTERS, st.text(max_size=300), st.sampled_from([name for name, _, _ in CALCULATED])),
            unit=st.sampled_from(["", "A", "kV", "Hz", "?", "В/кВ", "\x00"]),
            phase=st.one_of(st.sampled_from(["", "A", "B", "C", "N", "1", "AB"]), st.text(max_size=5)),
            circuit=st.sampled_from(["", "Q1", "Q2"]),
        ),
        max_size=40,
    )
)
def test_any_text_gives_sets_that_share_no_channel(channels: list[RawChannel]) -> None:
    sets, unused = phase_sets(channels)
    phases = [k for one in sets for k in one.channels if k is not None]
    assert len(phases) == len(set(phases))
    assert all(len([k for k in one.channels if k is not None]) >= 2 for one in sets)
    residuals = {one.residual for one in sets if one.residual is not None}
    assert residuals.isdisjoint(phases)
    assert {*phases, *residuals}.isdisjoint(unused)
    assert len(phases) + len(residuals) + len(unused) == len(channels)
    assert all(kind_of(channels[k]) or one.kind for one in sets for k in one.channels if k is not None)


@pytest.mark.parametrize(("name", "unit", "phase"), CALCULATED)
def test_a_calculated_quantity_is_in_no_set_and_says_why(name: str, unit: str, phase: str) -> None:
    channels = channels_of([*LATIN, name], ["A"] * 3 + ["V"] * 3 + [unit], [*"ABC", *"ABC", phase])
    sets, unused = phase_sets(channels)
    assert [one.channels for one in sets] == [(0, 1, 2), (3, 4, 5)]
    assert list(unused) == [6]


@pytest.mark.parametrize(
    "name",
    [
        *("Power Station I{}", "CARDIFF I{}", "Battersea I{}", "Delta I{}", "DC Line 1 I{}", "ANG MO KIO I{}"),
        *("Field 1 I{}", "DIA 1 I{}", "I{} 5th Street", "I{} FARMS", "Villa Real I{}", "IM1 I{}", "Crest Hill I{}"),
        *("二次{}相电流", "励磁变{}相电流", "三角侧I{}", "Среднеуральск I{}", "ПС Пост I{}", "I{}_Ciudad_Real"),
    ],
)
def test_a_place_whose_name_sounds_like_a_calculated_quantity_is_a_line(name: str) -> None:
    names = [name.format(phase) for phase in "ABC"]
    assert sets_of(*names) == [tuple(names)]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("I0", "I1", "I2"), "calculated: sequence component"),
        (("U1", "U2"), "calculated: sequence component"),
        (("IA MAG", "IB MAG", "IC MAG"), "calculated: magnitude or angle"),
        (("VDC_G1", "VDC_G2", "VDC_G3"), "direct quantity"),
        (("Ufd1", "Ufd2", "Ufd3"), "field quantity of a machine"),
        (("T1 IN", "T2 IN"), "residual value: its set is not certain"),
        (("IA", "VB"), "no other phases of this name"),
    ],
)
def test_names_that_are_no_phases_alone_make_no_line(names: Sequence[str], reason: str) -> None:
    sets, unused = phase_sets(channels_of(names))
    assert not sets
    assert set(unused.values()) == {reason}


def test_a_unit_that_is_no_waveform_and_an_unknown_unit_are_named() -> None:
    sets, unused = phase_sets(channels_of(("IA", "IB", "IC", "f", "X"), ("qux", "qux", "qux", "Hz", "qux")))
    assert [one.channels for one in sets] == [(0, 1, 2)]
    assert unused == {3: "unit Hz", 4: "unit 'qux' is unknown"}


@pytest.mark.parametrize(
    ("names", "sets"),
    [
        ("I1 I2 I3 U1 U2 U3", [("I1", "I2", "I3"), ("U1", "U2", "U3")]),
        ("I1 I2 I3 I4 U1 U2 U3 U4", [("I1", "I2", "I3"), ("U1", "U2", "U3")]),
        ("I1 I2 I3 I4 I5 I6 I7", []),
        ("U11 U12 U13 U21 U22 U23 U31", []),
        ("IA IC", [("IA", None, "IC")]),
        ("IA IB", [("IA", "IB", None)]),
        ("IL1 IL3 IE", [("IL1", None, "IL3")]),
        ("VAB VBC", [("VAB", "VBC", None)]),
        ("U12 U23", [("U12", "U23", None)]),
        ("UL1-L2 UL2-L3", [("UL1-L2", "UL2-L3", None)]),
        ("U21 U32 V0", [("U21", "U32", None)]),
        ("VRY VYB VBR IR IY IB", [("VRY", "VYB", "VBR"), ("IR", "IY", "IB")]),
        ("VA VB VC VS", [("VA", "VB", "VC")]),
        ("F1-IA F2-IB F3-IC F4-IG F5-VA F6-VB F7-VC", [("F1-IA", "F2-IB", "F3-IC"), ("F5-VA", "F6-VB", "F7-VC")]),
        ("T1_IA T1_IC T2_IA T2_IB T2_IC", [("T1_IA", None, "T1_IC"), ("T2_IA", "T2_IB", "T2_IC")]),
        ("North_IA South_IB West_IC", []),
        ("IA_SUB_A IA_SUB_B IA_SUB_C", []),
        (
            "BUS1UA BUS1UB BUS1UC LINE1IA LINE1IB LINE1IC",
            [("BUS1UA", "BUS1UB", "BUS1UC"), ("LINE1IA", "LINE1IB", "LINE1IC")],
        ),
        ("IA IB IC IA1 IA2 IA3", [("IA", "IB", "IC")]),
        ("IA IB IC I1 I2 I3", [("IA", "IB", "IC")]),
        ("VABUS VBBUS VCBUS IALINE IBLINE ICLINE", [("VABUS", "VBBUS", "VCBUS"), ("IALINE", "IBLINE", "ICLINE")]),
        ("I_A I_B I_V U_A U_B U_V", [("I_A", "I_B", "I_V"), ("U_A", "U_B", "U_V")]),
        ("V[0] V[1] V[2] I[0] I[1] I[2]", [("V[0]", "V[1]", "V[2]"), ("I[0]", "I[1]", "I[2]")]),
        ("V(1) V(2) V(3) I(1) I(2) I(3)", [("V(1)", "V(2)", "V(3)"), ("I(1)", "I(2)", "I(3)")]),
        ("IA1 IB1 IC1 IA2 IB2 IC2 IA3 IB3 IC3", [("IA1", "IB1", "IC1"), ("IA2", "IB2", "IC2"), ("IA3", "IB3", "IC3")]),
    ],
)
def test_names_that_are_nearly_phases(names: str, sets: list[tuple[str | None, ...]]) -> None:
    assert sets_of(*names.split()) == sets


@pytest.mark.parametrize(
    ("names", "sets"),
    [
        ("Ia:1 Ia:2 Ia:3 Va:1 Va:2 Va:3", [("Ia:1", "Ia:2", "Ia:3"), ("Va:1", "Va:2", "Va:3")]),
        ("I_line:1 I_line:2 I_line:3", [("I_line:1", "I_line:2", "I_line:3")]),
        ("I1W I2W I3W V1Y V2Y V3Y", [("I1W", "I2W", "I3W"), ("V1Y", "V2Y", "V3Y")]),
        ("TCTR1.AmpSv TCTR2.AmpSv TCTR3.AmpSv", [("TCTR1.AmpSv", "TCTR2.AmpSv", "TCTR3.AmpSv")]),
        ("I11 I12 I13 I21 I22 I23", [("I11", "I12", "I13"), ("I21", "I22", "I23")]),
        ("I11 I12 I13 I21", []),
        ("Current_4 Current_5 Current_6", [("Current_4", "Current_5", "Current_6")]),
        ("I_line:1 I_line:2 I_line:3 I_line:4", []),
        ("IA IB IC I_feeder:1 I_feeder:2 I_feeder:3", [("IA", "IB", "IC")]),
        ("IN_T1 IN_T2 IN_T3", []),
    ],
)
def test_three_consecutive_numbers_are_phases_that_the_waveforms_must_confirm(
    names: str, sets: list[tuple[str | None, ...]]
) -> None:
    channels = names.split()
    assert sets_of(*channels) == sets
    found, _ = phase_sets(channels_of(channels, ("",) * len(channels)))
    assert all(one.numbered for one in found if "IA" not in channels)


def test_a_bus_is_no_phase() -> None:
    assert sets_of("母线A电压", "母线B电压") == []
    assert sets_of("Bus A V", "Bus B V") == []
    assert sets_of("IA", "IB", "VS", "VR") == [("IA", "IB", None)]


def test_voltages_of_the_opposite_sign_are_marked() -> None:
    sets, _ = phase_sets(channels_of(("U21", "U32", "U13", "Vo", "UAB", "UBC")))
    assert [(one.pairs, one.reversed) for one in sets] == [(True, True), (True, False)]


def test_the_phase_field_does_not_decide_against_clear_names() -> None:
    assert sets_of(*LATIN, phases=["A"] * 6) == [("IA", "IB", "IC"), ("VA", "VB", "VC")]
    assert sets_of(*LATIN, phases=["7", "8", "9", "0", "1", "6"]) == [("IA", "IB", "IC"), ("VA", "VB", "VC")]
    assert sets_of(*LATIN[:3], phases=[*"BCA"]) == [("IA", "IB", "IC")]


def test_circuits_that_part_two_sets_of_the_same_names_are_not_mixed() -> None:
    names = ("IA", "IC", "IB", "IC")
    sets, _ = phase_sets(channels_of(names, circuits=("T1", "T1", "T2", "T2")))
    assert [(one.circuit, one.channels) for one in sets] == [("T1", (0, None, 1)), ("T2", (None, 2, 3))]


def test_channels_of_the_same_name_are_sets_in_the_order_of_the_file() -> None:
    sets, _ = phase_sets(channels_of(("IA", "IB", "IC", "IA", "IC", "IA", "IB", "IC")))
    assert [one.channels for one in sets] == [(0, 1, 2), (3, None, 4), (5, 6, 7)]


@pytest.mark.parametrize(
    ("names", "residuals"),
    [
        ("IA IB IC IN", [(3, False)]),
        ("IA IB IC I0", [(3, True)]),
        ("IA IB IC IN I0", [(3, False)]),
        ("IA IB IC I0 I1 I2", [(None, False)]),
        ("T1_IA T1_IB T1_IC T2_IA T2_IB T2_IC T2_IN", [(None, False), (6, False)]),
        ("T1_IA T1_IB T1_IC T2_IA T2_IB T2_IC IN", [(None, False), (None, False)]),
        ("T1_IA T1_IB T1_IC T3_IN", [(None, False)]),
        ("VAN VBN VCN VAB VBC VCA VN", [(6, False), (6, False)]),
        ("VAB VBC U0", [(2, True)]),
    ],
)
def test_a_neutral_joins_the_set_to_which_it_belongs_without_doubt(
    names: str, residuals: list[tuple[int | None, bool]]
) -> None:
    sets, _ = phase_sets(channels_of(names.split()))
    assert [(one.residual, one.residual_is_third) for one in sets] == residuals


def test_a_voltage_for_the_synchronism_check_is_no_neutral() -> None:
    sets, unused = phase_sets(channels_of(("Ua", "Ub", "Uc", "Ux"), phases=[*"ABCN"]))
    assert sets[0].residual is None
    assert list(unused) == [3]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("1-Q1 Ia", "2-Q1 Ib", "3-Q1 Ic"), ["Q1"]),
        (("IBRA1", "IBRB1", "IBRC1"), ["BR1"]),
        (("IA_BRK2", "IB_BRK2", "IC_BRK2"), ["BRK2"]),
        (("Ua_SUB_A_VT2", "Ub_SUB_A_VT2", "Uc_SUB_A_VT2"), ["SUB A VT2"]),
        (("Ⅱ母Ua", "Ⅱ母Ub", "Ⅱ母Uc"), ["Ⅱ母"]),
        (("I母A相电压", "I母B相电压", "I母C相电压"), ["I母"]),
        (("1号线A相电流", "1号线B相电流", "1号线C相电流"), ["1号线"]),
        (("Ток Ia ВЛ-1", "Ток Ib ВЛ-1", "Ток Ic ВЛ-1"), ["ВЛ 1"]),
        (("CT1-A I", "CT1-B I", "CT1-C I"), ["1"]),
        (
            ("Subsystem #1|Branch Currents|IaLine",) * 1
            + ("Subsystem #1|Branch Currents|IbLine", "Subsystem #1|Branch Currents|IcLine"),
            ["Subsystem 1 Line"],
        ),
        (("城东线电流A相", "城东线电流B相", "城东线电流C相"), ["城东线"]),
        (("220kV山西线电压A", "220kV山西线电压B", "220kV山西线电压C"), ["220kV山西线"]),
    ],
)
def test_the_label_is_what_tells_a_set_from_others(names: Sequence[str], labels: list[str]) -> None:
    assert [one.label for one in phase_sets(channels_of(names))[0]] == labels


def test_a_set_says_why_it_is_one() -> None:
    sets, _ = phase_sets(channels_of(LATIN, ["A"] * 3 + ["kV"] * 3, [*"ABC", *"ABC"]))
    assert sets[0].why == "names differ only in A B C, phase field A B C, unit A"
    sets, _ = phase_sets(channels_of([*"123"], ["A"] * 3, [*"ABC"]))
    assert sets[0].why == "phase field A B C, unit A"


def test_a_name_beside_a_unit_of_all_channels_decides() -> None:
    assert sets_of(*LATIN, units=["V"] * 6) == [("IA", "IB", "IC"), ("VA", "VB", "VC")]


@pytest.mark.parametrize(
    ("unit", "kind", "factor"),
    [
        *(
            (unit, "current", 1.0)
            for unit in ("A", "a", "Amps", "A rms", "A prim", "[A]", "'A'", "А", "安", "Arms", "A/kA")
        ),
        *((unit, "current", 1e3) for unit in ("kA", "KA", "кА", "kA peak", '"kA"', "A·10^3", "10^3 A")),
        *((unit, "voltage", 1.0) for unit in ("V", "v", "Volts", "В", "В/кВ", "V(rms)", "B", "伏", "secondary V")),
        *((unit, "voltage", 1e3) for unit in ("kV", "KV", "Kv", "кВ", '"kV"', "kV LN", "kVp", "перв. кВ")),
        ("mV", "voltage", 1e-3),
        ("мВ", "voltage", 1e-3),
        ("MV", "voltage", 1e6),
        ("МВ", "voltage", 1e6),
        *(
            (unit, "", 1.0)
            for unit in ("", "p.u.", "%", "1", "-", "Hz", "°", "kW", "VA", "Вт", "Vdc", "V/Hz", "furlong")
        ),
    ],
)
def test_units_are_read_as_people_write_them(unit: str, kind: str, factor: float) -> None:
    assert unit_of(RawChannel(1, "", unit)) == (kind, factor)


@pytest.mark.parametrize(
    ("unit", "state"),
    [
        ("Гц", "other"),
        ("MVAr", "other"),
        ("°C", "other"),
        ("pu", "none"),
        ("N/A", "none"),
        ("xyz", "unknown"),
        ("A", "known"),
    ],
)
def test_an_unknown_unit_is_told_from_another_quantity(unit: str, state: str) -> None:
    assert read_unit(unit).state == state


@given(st.text(max_size=30))
@example("10^9999 A")
@example("/")
def test_any_text_may_be_a_unit(text: str) -> None:
    unit = read_unit(text)
    assert unit.factor > 0
    assert (unit.state == "known") == bool(unit.kind)


@pytest.mark.parametrize(
    ("unit", "side", "primary", "secondary", "factor"),
    [
        ("kV", "P", 110.0, 0.1, 1e3),
        ("V", "S", 110e3, 100.0, 1100.0),
        ("В/кВ", "S", 110.0, 100.0, 1100.0),
        ("V/kV", "S", 110e3, 100.0, 1100.0),
        ("V/kV", "S", 110.0, 0.1, 1100.0),
        ("V/kV", "S", 1.0, 1.0, 1.0),
        ("A/kA", "S", 1.5, 5.0, 300.0),
        ("A/kA", "S", 1500.0, 5.0, 300.0),
        ("А", "S", 1000.0, 5.0, 200.0),
        ("A", "S", 1000.0, 0.0, 1.0),
    ],
)
def test_ratios_of_two_units_give_primary_values(
    unit: str, side: Literal["P", "S"], primary: float, secondary: float, factor: float
) -> None:
    channel = RawChannel(1, "x", unit, primary=primary, secondary=secondary, side=side)
    assert primary_factor(channel) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("unit", "primary", "secondary", "ratings"),
    [
        ("A", 1000.0, 5.0, (1000.0, 5.0)),
        ("kA", 1000.0, 5.0, (1000.0, 5.0)),
        ("kA", 1.2, 0.001, (1200.0, 1.0)),
        ("kA", 1.2, 1.0, (1200.0, 1.0)),
        ("kA", 1.0, 1.0, (1.0, 1.0)),
        ("A/kA", 1.5, 5.0, (1500.0, 5.0)),
        ("A/kA", 1500.0, 5.0, (1500.0, 5.0)),
    ],
)
def test_ratings_of_current_transformers_are_in_amperes(
    unit: str, primary: float, secondary: float, ratings: tuple[float, float]
) -> None:
    assert rated_amperes(RawChannel(1, "x", unit, primary=primary, secondary=secondary)) == pytest.approx(ratings)


def test_a_unit_in_brackets_behind_the_name_is_the_unit() -> None:
    channels = channels_of(("Ia [kA]", "Ib [kA]", "Ic [kA]", "Ua (V)", "Ub (V)", "Uc (V)"))
    sets, _ = phase_sets(channels)
    assert [(one.kind, one.label) for one in sets] == [("current", ""), ("voltage", "")]
    assert unit_of(channels[0]) == ("current", 1e3)
    assert unit_of(RawChannel(1, "IA(A)", "kA")) == ("current", 1e3)
    names = [f"I{phase} ({side})" for phase in "abc" for side in "AB"]
    assert sets_of(*names) == [("Ia (A)", "Ib (A)", "Ic (A)"), ("Ia (B)", "Ib (B)", "Ic (B)")]
