"""Channels of records: families of names in many languages, units, phase fields, orders and calculated values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from domains.powerline.waveforms.record import RawChannel

ABC, LINES, RST, RYB, UVW = ("A", "B", "C"), ("L1", "L2", "L3"), ("R", "S", "T"), ("R", "Y", "B"), ("U", "V", "W")
LOWER, NUMBERS = ("a", "b", "c"), ("1", "2", "3")
ABC_PAIRS, LINE_PAIRS = ("AB", "BC", "CA"), ("L12", "L23", "L31")
FEEDERS, CYRILLIC, CHINESE = ("Q1", "Q2", "Q8"), ("Ввод 1", "Ввод 2", "ВЛ Южная"), ("线路一", "线路二", "1号线")


@dataclass(frozen=True, slots=True)
class Family:
    """Names of one kind of recorder: ``{p}`` is the phase, ``{q}`` the pair, ``{n}`` the line, ``{k}`` the position."""

    title: str
    current: str
    voltage: str
    phases: tuple[str, str, str] = ABC
    pair: str = ""
    pairs: tuple[str, str, str] = ABC_PAIRS
    neutral: str = ""
    neutral_voltage: str = ""
    third: bool = False
    lines: tuple[str, ...] = ("",)
    arbitrary: bool = False
    """True if the names say nothing, so that the phase field and the unit must be there."""


FAMILIES = (
    Family("plain", "I{p}", "V{p}", pair="V{q}", neutral="IN", neutral_voltage="VN"),
    Family("small letters", "i{p}", "u{p}", LOWER, neutral="i0", neutral_voltage="u0", third=True),
    Family("running number, dash", "{k}-I{p}", "{k}-U{p}", LOWER, neutral="{k}-3I0", neutral_voltage="{k}-3U0"),
    Family("running number, colon", "{k:02}:I{p}", "{k:02}:U{p}", pair="{k:02}:U{q}", neutral="{k:02}:IN"),
    Family("running number, full stop", "{k}.I{p}", "{k}.U{p}", LINES, neutral="{k}.IE", neutral_voltage="{k}.UE"),
    Family("running number, word", "ch{k} I{p}", "ch{k} U{p}", neutral="ch{k} 3I0"),
    Family("running number, brackets", "({k}) I{p}", "({k}) U{p}", neutral="({k}) IN"),
    Family("running number and line", "{k}-{n} I{p}", "{k}-{n} U{p}", LOWER, neutral="{k}-{n} 3I0", lines=FEEDERS),
    Family("running number behind", "I{p}_{k}", "U{p}_{k}"),
    Family("feeder before", "{n} I{p}", "{n} U{p}", LOWER, pair="{n} U{q}", neutral="{n} 3I0", lines=FEEDERS),
    Family("feeder before, underscore", "{n}_I{p}", "{n}_V{p}", neutral="{n}_IN", lines=("T1", "T2", "BAY_12")),
    Family(
        "feeder behind", "I{p}_{n}", "V{p}_{n}", pair="V{q}_{n}", neutral="IN_{n}", lines=("BRK1", "BRK2", "LN_NORTH")
    ),
    Family("line with a dash", "{n} - I{p}", "{n} - U{p}", LOWER, lines=("Line 1", "Line 2", "Line 3")),
    Family("breaker index", "IBR{p}{n}", "VBR{p}{n}", lines=("1", "2", "3")),
    Family("index behind", "I{p}{n}", "V{p}{n}", pair="V{q}{n}", lines=("1", "2", "3")),
    Family("winding index", "I{n}{p}", "U{n}{p}", lines=("1", "2", "3")),
    Family("winding letter", "I{p}{n}", "V{p}{n}", lines=("W", "X", "Y")),
    Family("side behind", "I{p} Side{n}", "U{p} Side{n}", lines=("1", "2", "3")),
    Family("substation with a letter", "I{p}_SUB_{n}_CT1", "U{p}_SUB_{n}_VT2", LOWER, lines=("A", "B", "C")),
    Family("relay, IEC", "I{p}", "U{p}", LINES, pair="U{q}", pairs=LINE_PAIRS, neutral="IE", neutral_voltage="UE"),
    Family(
        "relay, IEC, to ground", "I{p}", "U{p}E", LINES, pair="U{q}", pairs=("L1-L2", "L2-L3", "L3-L1"), neutral="IE"
    ),
    Family("relay, to neutral", "I{p}", "V{p}N", pair="V{q}", neutral="IG", neutral_voltage="VG"),
    Family("to neutral with a dash", "I{p}", "V{p}-N", pair="V{q}", pairs=("A-B", "B-C", "C-A"), neutral="IN"),
    Family("brackets", "I{p}(A)", "U{p}(V)", neutral="IN(A)"),
    Family("phase twice", "I{p} {p}", "U{p} {p}", neutral="IN N"),
    Family("phase twice, lines", "I{p} {p}", "U{p} {p}", LINES, lines=("",)),
    Family("phase twice, word", "I{p} Phase {p}", "V{p} Phase {p}"),
    Family("phase before", "{p} I{p} {n}", "{p} U{p} {n}", lines=("North", "South", "7")),
    Family("phase word", "{n} Phase {p} Current", "{n} Phase {p} Voltage", lines=("Oak", "Elm", "Line 3")),
    Family(
        "words", "Current {p} {n}", "Voltage {p} {n}", neutral="Neutral current {n}", lines=("T101", "T102", "T103")
    ),
    Family(
        "German",
        "{n} Strom {p}",
        "{n} Spannung {p}",
        LINES,
        neutral="{n} Erdstrom",
        lines=("Abzweig 1", "Abzweig 2", "Süd"),
    ),
    Family(
        "German, to ground",
        "{n} I {p}",
        "{n} U {p}-E",
        LINES,
        pair="{n} U {q}",
        pairs=("L1-L2", "L2-L3", "L3-L1"),
        lines=FEEDERS,
    ),
    Family("French", "{n} Courant phase {p}", "{n} Tension phase {p}", lines=("Départ 1", "Départ 2", "Arrivée")),
    Family("Spanish", "{n} Corriente {p}", "{n} Tensión fase {p}", RST, lines=("Línea 1", "Línea 2", "Trafo")),
    Family("Portuguese", "{n} Corrente {p}", "{n} Tensão {p}", lines=("LT 01", "LT 02", "TR 1")),
    Family("Italian", "{n} Corrente fase {p}", "{n} Tensione fase {p}", RST, lines=("Linea 1", "Linea 2")),
    Family("Polish", "{n} Prąd {p}", "{n} Napięcie {p}", LINES, lines=("Pole 1", "Pole 2")),
    Family(
        "Russian", "Ток ф.{p}", "Напряжение ф.{p}", ("А", "В", "С"), neutral="Ток 3I0", neutral_voltage="Напряжение 3U0"
    ),
    Family(
        "Russian, line", "I{p} {n}", "U{p} {n}", LOWER, neutral="3I0 {n}", neutral_voltage="3U0 {n}", lines=CYRILLIC
    ),
    Family("Russian, letters mixed", "{n} I{p}", "{n} U{p}", ("а", "в", "с"), neutral="{n} 3Iо", lines=CYRILLIC),
    Family("Russian, phase words", "{n} ток фазы {p}", "{n} напр. фазы {p}", ("А", "В", "С"), lines=CYRILLIC),
    Family("Chinese", "{p}相电流", "{p}相电压", neutral="零序电流", neutral_voltage="零序电压"),
    Family("Chinese, line", "{n}I{p}", "{n}U{p}", neutral="{n}3I0", lines=CHINESE),
    Family("Chinese, bus", "{n}I{p}", "{n}U{p}", LOWER, neutral_voltage="{n}3U0", lines=("Ⅰ母", "Ⅱ母", "Ⅲ母")),
    Family("Chinese, words", "{n}{p}相电流", "{n}{p}相电压", lines=CHINESE),
    Family("India", "{n} I{p}", "{n} V{p}", RYB, neutral="{n} IN", lines=("FDR1", "FDR2", "TRF-1")),
    Family("Japan", "I{p}", "V{p}", UVW),
    Family("R S T", "I_{p}", "V_{p}", RST, pair="V_{q}", pairs=("RS", "ST", "TR")),
    Family("numbers", "I{p}", "U{p}", NUMBERS, pair="U{q}", pairs=("12", "23", "31")),
    Family("numbers, feeder", "{n}/I{p}", "{n}/U{p}", NUMBERS, lines=FEEDERS),
    Family(
        "RTDS",
        "Subsystem #1|Branch Currents|I{p}{n}",
        "Subsystem #1|Node Voltages|V{p}{n}",
        LOWER,
        lines=("Line", "Load", "Src"),
    ),
    Family("PSCAD", "Main : I{p}:1", "Main : V{p}:1", LOWER),
    Family("PSCAD arrays", "I{n}abc_{p}", "V{n}abc_{p}", NUMBERS),
    Family("arrays in brackets", "Iabc[{p}]", "Vabc[{p}]", NUMBERS),
    Family("arrays from zero", "Iabc:{p}", "Vabc:{p}", ("0", "1", "2")),
    Family("ATP", "c:{n}{p}-X9999{p}", "v:{n}{p}", lines=("X0001", "X0002", "BUS12")),
    Family("camel case", "I{p}Line{n}", "U{p}Line{n}", LOWER, lines=("1", "2", "3")),
    Family("feeder in the middle", "I_{n}_{p}", "V_{n}_{p}", lines=("Feeder", "Main", "Load")),
    Family("slashes", "Bay/{n}/MMXU.A.phs{p}", "Bay/{n}/MMXU.PhV.phs{p}", lines=("F1", "F2"), arbitrary=True),
    Family("position only", "{k}", "{k}", arbitrary=True),
    Family("transformer names", "CT {n}", "VT {n}", lines=("1", "2"), arbitrary=True),
    Family("analog numbers", "Analog {k}", "Analog {k}", arbitrary=True),
    Family("terminals", "X1:{k}", "X2:{k}", arbitrary=True),
)
CURRENT_UNITS = (
    "A",
    "a",
    "Amps",
    "A rms",
    "A prim",
    "A sec",
    "kA",
    "kA peak",
    "[A]",
    "'A'",
    '"kA"',
    "А",
    "кА",
    "A/kA",
    "А/кА",
    "安",
    "Ampere",
    "A(rms)",
    "Arms",
    "KA",
    "mA",
    "A·10^3",
    "A, prim.",
)
VOLTAGE_UNITS = (
    "V",
    "v",
    "Volts",
    "V rms",
    "kV prim",
    "V sec",
    "kV",
    "kV LN",
    "[V]",
    "'V'",
    '"kV"',
    "В",
    "кВ",
    "V/kV",
    "В/кВ",
    "伏",
    "Volt",
    "V(rms)",
    "kVp",
    "KV",
    "Kv",
    "mV",
    "MV",
    "kV, prim.",
)
NO_UNITS = ("", "-", "p.u.", "pu", "%", "xyz", "???", "furlong", "1")
CALCULATED = (
    ("I1", "A", "1"),
    ("I2", "A", "2"),
    ("dI1", "A", "1"),
    ("dI2", "V", "2"),
    ("3I1", "A", ""),
    ("I1mag", "A", ""),
    ("I2 mag", "A", ""),
    ("U1", "V", "1"),
    ("U2", "V", "2"),
    ("I posseq", "A", ""),
    ("V negseq", "V", ""),
    ("IA RMS", "A", "A"),
    ("IB RMS", "A", "B"),
    ("IC RMS", "A", "C"),
    ("VA mag", "V", "A"),
    ("VB mag", "V", "B"),
    ("VC mag", "V", "C"),
    ("IA angle", "°", "A"),
    ("P", "MW", ""),
    ("IB angle", "deg", "B"),
    ("IC angle", "deg", "C"),
    ("PA", "kW", "A"),
    ("PB", "kW", "B"),
    ("PC", "kW", "C"),
    ("Q", "Mvar", ""),
    ("S", "kVA", ""),
    ("cosphi", "", ""),
    ("Frequency", "Hz", ""),
    ("f", "Гц", ""),
    ("IA THD", "%", "A"),
    ("IB THD", "%", "B"),
    ("IC THD", "%", "C"),
    ("IDIFF A", "A", "A"),
    ("IDIFF B", "A", "B"),
    ("IDIFF C", "A", "C"),
    ("Irest A", "A", "A"),
    ("Irest B", "A", "B"),
    ("Irest C", "A", "C"),
    ("IDL1", "A", ""),
    ("IDL2", "A", ""),
    ("IDL3", "A", ""),
    ("IA 2H", "A", "A"),
    ("IB 2H", "A", "B"),
    ("IC 2H", "A", "C"),
    ("IA H5", "A", "A"),
    ("IB H5", "A", "B"),
    ("IC H5", "A", "C"),
    ("IA 5th", "A", ""),
    ("IB 5th", "A", ""),
    ("IC 5th", "A", ""),
    ("IA demand", "A", "A"),
    ("IB demand", "A", "B"),
    ("IC demand", "A", "C"),
    ("VDC_G1", "V", ""),
    ("VDC_G2", "V", ""),
    ("VDC_G3", "V", ""),
    ("IDC_G1", "A", ""),
    ("IDC_G2", "A", ""),
    ("IDC_G3", "A", ""),
    ("Uf", "V", ""),
    ("If", "A", ""),
    ("Ufd1", "V", ""),
    ("Ufd2", "V", ""),
    ("Ufd3", "V", ""),
    ("Field current", "A", ""),
    ("Excitation voltage", "V", ""),
    ("+220VDC", "V", ""),
    ("UDC", "V", ""),
    ("Battery", "V", ""),
    ("CW1", "", ""),
    ("CW2", "", ""),
    ("CW3", "", ""),
    ("Vref", "V", ""),
    ("Setpoint", "A", ""),
    ("Ток возбуждения", "А", ""),
    ("Частота", "Гц", ""),
    ("A相谐波", "A", "A"),
    ("B相谐波", "A", "B"),
    ("C相谐波", "A", "C"),
    ("A相差动电流", "A", "A"),
    ("B相差动电流", "A", "B"),
    ("C相差动电流", "A", "C"),
    ("Temperature", "°C", ""),
    ("Speed", "rpm", ""),
)
"""Name, unit and phase field of channels that are no phases of a line."""
Order = Literal["by line", "by quantity", "by phase", "shuffled"]


@dataclass(frozen=True, slots=True)
class Variant:
    """Notation in which the records of a family are written."""

    lines: int = 1
    units: tuple[str, str] = ("A", "V")
    fields: Literal["", "letters", "small", "lines", "to neutral"] = ""
    order: Order = "by line"
    seed: int = 0
    neutral: bool = False
    pairs: bool = False
    extras: int = 0
    circuits: bool = False
    two: bool = False
    """True if phase B is not recorded (Aron)."""


@dataclass(slots=True)
class Expected:
    """A set that must be found: indices of the channels."""

    kind: str
    pairs: bool
    channels: tuple[int | None, int | None, int | None]
    residual: int | None
    third: bool


@dataclass(slots=True)
class _Item:
    template: str
    kind: Literal["current", "voltage"]
    unit: str
    line: int
    phase: int | None
    symbol: str = ""
    pair: bool = False
    extra: tuple[str, str, str] | None = None
    index: int = field(default=-1)


def fitted(family: Family, variant: Variant) -> Variant:
    """Return the variant without what would make the names of a family ambiguous for a person too."""
    numbers = family.phases in (NUMBERS, ("0", "1", "2"))
    if family.arbitrary:
        units = ("A", "V") if variant.units[0] in NO_UNITS else variant.units
        variant = replace(variant, units=units, fields=variant.fields or "letters", order="by line")
    if family.arbitrary or numbers or family.title in ("running number behind", "breaker index"):
        variant = replace(variant, two=False)
    if not family.pair:
        variant = replace(variant, pairs=False)
    # I1 and I2 beside phases I1, I2, I3 cannot be told from them, and I0 beside I1 and I2 is a magnitude.
    if (numbers and len(family.lines) == 1) or (family.third and variant.neutral):
        variant = replace(variant, extras=0)
    return variant


def record_of(family: Family, variant: Variant) -> tuple[list[RawChannel], list[Expected]]:
    """Return the channels of a record, and the sets that must be found in it."""
    items = _items(family, variant)
    _sort(items, variant)
    channels = []
    for k, item in enumerate(items):
        item.index = k
        channels.append(_channel(family, variant, item, k + 1))
    return channels, _expected(family, items, variant)


def _items(family: Family, variant: Variant) -> list[_Item]:
    amps, volts = variant.units
    items = []
    for line in range(min(variant.lines, len(family.lines))):
        for phase, symbol in enumerate(family.phases):
            if not (variant.two and phase == 1):
                items.append(_Item(family.current, "current", amps, line, phase, symbol))
        if variant.neutral and family.neutral:
            items.append(_Item(family.neutral, "current", amps, line, None))
        for phase, symbol in enumerate(family.phases):
            items.append(_Item(family.voltage, "voltage", volts, line, phase, symbol))
        if variant.neutral and family.neutral_voltage:
            items.append(_Item(family.neutral_voltage, "voltage", volts, line, None))
        if variant.pairs:
            for phase, symbol in enumerate(family.pairs):
                if not (variant.two and phase == 2):
                    items.append(_Item(family.pair, "voltage", volts, line, phase, symbol, pair=True))
    chosen = random.Random(variant.seed).sample(CALCULATED, variant.extras)
    return items + [_Item("", "current", "", -1, None, extra=extra) for extra in chosen]


def _sort(items: list[_Item], variant: Variant) -> None:
    if variant.order == "by quantity":
        items.sort(key=lambda item: (item.extra is not None, item.kind, item.line))
    elif variant.order == "by phase":
        items.sort(key=lambda item: (item.extra is not None, item.phase is None, item.phase or 0, item.kind))
    elif variant.order == "shuffled":
        random.Random(variant.seed).shuffle(items)


def _channel(family: Family, variant: Variant, item: _Item, number: int) -> RawChannel:
    if item.extra is not None:
        name, unit, phase = item.extra
        return RawChannel(number, name, unit, phase if variant.fields else "")
    line = family.lines[item.line]
    name = " ".join(item.template.format(p=item.symbol, q=item.symbol, n=line, k=number).split())
    circuit = f"C{item.line + 1}" if variant.circuits else ""
    return RawChannel(number, name, item.unit, _field_of(item, variant), circuit)


def _field_of(item: _Item, variant: Variant) -> str:
    if not variant.fields:
        return ""
    if item.phase is None:
        return "N"
    if item.pair:
        pair = ABC_PAIRS[item.phase]
        return {"letters": pair, "small": pair.lower(), "lines": LINE_PAIRS[item.phase]}.get(
            variant.fields, f"{pair[0]}-{pair[1]}"
        )
    letter = "ABC"[item.phase]
    styles = {"letters": letter, "small": letter.lower(), "lines": f"L{item.phase + 1}", "to neutral": f"{letter}-N"}
    return styles[variant.fields]


def _expected(family: Family, items: Sequence[_Item], variant: Variant) -> list[Expected]:
    found = []
    for line in range(min(variant.lines, len(family.lines))):
        for kind, pair in (("current", False), ("voltage", False), ("voltage", True)):
            mine = [item for item in items if item.line == line and item.kind == kind and item.extra is None]
            phases = {item.phase: item.index for item in mine if item.phase is not None and item.pair == pair}
            residual = next((item.index for item in mine if item.phase is None), None)
            if phases:
                indices = (phases.get(0), phases.get(1), phases.get(2))
                found.append(Expected(kind, pair, indices, residual, family.third and residual is not None))
    return found
