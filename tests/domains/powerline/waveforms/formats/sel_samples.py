"""Event reports of SEL relays, written by the tests in the forms of several families of relays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

ROOT_TWO = float(np.sqrt(2))
BITS = "EN TRIP * 51P 50G1 IN101 OUT101 LB1"


@dataclass(frozen=True)
class Relay:
    """Form of a report: columns of samples, labels before them, rows per cycle, and the side of the values."""

    columns: tuple[str, ...] = ("IA", "IB", "IC", "IN", "IG", "VA(kV)", "VB(kV)", "VC(kV)", "VS(kV)", "VDC", "FREQ")
    summary: tuple[str, ...] = (
        "FREQ", "SAM/CYC_A", "SAM/CYC_D", "NUM_OF_CYC", "EVENT", "LOCATION", "SHOT", "TARGETS", "IA", "IB", "IC",
    )  # fmt: skip
    identity: tuple[str, ...] = ("FID",)
    per_cycle: int = 4
    cycles: int = 15
    trigger_cycle: int = 5
    frequency_hz: float = 60.0
    scaled: bool = True
    """True if the columns are instantaneous values divided by √2."""
    underscore: str = ""
    line_end: str = "\r\n"
    before: str = "\x02"
    after: str = "\x03"
    settings: bool = True
    ct: float = 1.0
    vt: float = 1.0
    primary: str = ""
    event: str = "AG T"
    location: str = "2.36"
    stamp: tuple[int, ...] = (7, 12, 1999, 9, 28, 31, 721)
    current: float = 240.0
    volt: float = 7_200.0
    others: dict[str, str] = field(default_factory=dict)

    @property
    def times(self) -> NDArray[np.float64]:
        """Return the time of every row in seconds after the first."""
        return np.arange(self.per_cycle * self.cycles) / (self.per_cycle * self.frequency_hz)

    @property
    def trigger_row(self) -> int:
        """Return the row of the trigger."""
        return self.per_cycle * self.trigger_cycle + 2

    @property
    def trigger_ns(self) -> int:
        """Return the Unix time of the trigger."""
        month, day, year, *clock = self.stamp
        moment = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{clock[0]:02d}:{clock[1]:02d}:{clock[2]:02d}", "ns")
        return int(moment.astype(np.int64)) + clock[3] * 1_000_000

    def waves(self) -> NDArray[np.float64]:
        """Return instantaneous ia ib ic va vb vc in A and V (primary), (rows, 6), with a fault A-G at the trigger."""
        turns = 2 * np.pi * self.frequency_hz * self.times[:, None] - 2 * np.pi * np.arange(3) / 3
        waves = np.concatenate([np.cos(turns - 0.4) * self.current, np.cos(turns) * self.volt], axis=1) * ROOT_TWO
        faulty = np.arange(len(waves)) >= self.trigger_row
        waves[faulty, 0] = 9 * self.current * ROOT_TWO * np.cos(turns[faulty, 0] - 1.3)
        waves[faulty, 3] *= 0.4
        return waves

    def table(self) -> NDArray[np.float64]:
        """Return the values of the columns as the relay writes them, before rounding."""
        ia, ib, ic, va, vb, vc = self.waves().T
        known = {"IA": ia, "IB": ib, "IC": ic, "VA": va, "VB": vb, "VC": vc}
        known |= {"IG": ia + ib + ic, "IN": ia + ib + ic, "VS": va, "VAB": va - vb, "VBC": vb - vc, "VCA": vc - va}
        rows = []
        for column in self.columns:
            name, _, unit = column.rstrip(")").partition("(")
            if name in ("FREQ", "VDC", "*", "V1MEM"):
                value = {"FREQ": self.frequency_hz, "VDC": 125.0}.get(name, 0.0)
                rows.append(np.full(len(ia), value))
                continue
            wave = known.get(name) if name in known else known.get(name[:2], 0 * ia)
            assert wave is not None
            ratio = self.ct if name.startswith("I") else self.vt
            kilo = 1e-3 if unit == "kV" else 1.0
            rows.append(wave * kilo / ratio / (ROOT_TWO if self.scaled else 1.0))
        return np.array(rows).T

    def decimals(self) -> list[int]:
        """Return the decimals of each column."""
        places = [0 if column.startswith(("I", "*")) else 1 if "V)" in column else 2 for column in self.columns]
        return [count + (2 if self.ct > 1 else 0) for count in places]


def checked(fields: Sequence[str]) -> str:
    """Return a line with its checksum: the sum of all bytes before the last quoted field."""
    body = ",".join(fields) + ","
    return f'{body}"{sum(body.encode()) & 0xFFFF:04X}"'


def quoted(names: Sequence[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def compressed(relay: Relay) -> tuple[bytes, NDArray[np.float64]]:
    """Return a compressed report, and the values (rows, columns) that it holds."""
    end, lines = relay.line_end, []
    if relay.identity:
        said = {"FID": "FID=SEL-351-7-R517-V0-Z104104-D20160331", "CEV_VER": "1.0.0", "PART_NUM": "0351"}
        lines += [checked(quoted(relay.identity)), checked(quoted([said.get(name, "7") for name in relay.identity]))]
    clock = ("MONTH", "DAY", "YEAR", "HOUR", "MIN", "SEC", "MSEC")
    lines += [checked(quoted([name + relay.underscore for name in clock])), checked([str(k) for k in relay.stamp])]
    if relay.summary:
        lines += [checked(quoted(relay.summary)), checked([_summary_value(relay, name) for name in relay.summary])]
    lines.append(checked([*quoted(relay.columns), '"TRIG"', f'"{BITS}"']))
    table, rows = relay.table(), []
    for number, values in enumerate(table):
        cells = [f"{value:.{places}f}" for value, places in zip(values, relay.decimals(), strict=True)]
        rows.append([float(cell) for cell in cells])
        mark = ">" if number == relay.trigger_row else "*" if number == relay.trigger_row + 9 else ""
        lines.append(checked([*cells, f'"{mark}"', '"80C0"']))
    if relay.settings:
        lines += [checked(['"SETTINGS"']), '"Group 1', "CTR   := 120   PTR := 60", 'TR    := 51PT + 50G1 ","0000"']
    return (relay.before + end.join(lines) + end + relay.after).encode(), np.array(rows)


def _summary_value(relay: Relay, name: str) -> str:
    plain = name.partition("(")[0]
    faulty = relay.waves()[-relay.per_cycle :, :3]
    rms = dict(zip(("IA", "IB", "IC"), np.sqrt(np.square(faulty).mean(axis=0)), strict=True))
    known = {
        "FREQ": f"{relay.frequency_hz:.2f}", "SAM/CYC_A": str(relay.per_cycle), "SAM/CYC_D": "4",
        "NUM_OF_CYC": str(relay.cycles), "EVENT": f'"{relay.event}"', "LOCATION": relay.location, "SHOT": "0",
        "TARGETS": '"INST 50 51 A"', "PRIM_VAL": f'"{relay.primary}"', "REC_NUM": "10824",
    }  # fmt: skip
    if name.startswith(("CTR", "PTR")):
        return f"{relay.ct if name.startswith('CTR') else relay.vt:g}"
    if plain in rms:
        return f"{rms[plain]:.0f}"
    return relay.others.get(name, known.get(name, "0"))


def plain_text(relay: Relay, *, labels: bool = True, skip: Sequence[int] = (), side: str = "Pri") -> bytes:
    """Return a plain text report; the cycles ``skip`` are left out, as in a manual or an edited report."""
    names = [column.partition("(")[0] for column in relay.columns]
    month, day, year, hour, minute, second, ms = relay.stamp
    date = f"{month:02d}/{day:02d}/{year % 100:02d}"
    lines = [
        "=>EVE", "",
        f"FEEDER 1                    Date: {date}     Time: {hour:02d}:{minute:02d}:{second:02d}.{ms:03d}",
        "STATION A", "",
        "FID=SEL-351A-R109-V0-Z001001-D20080213     CID=1A2B",
        "                                                              Out In",
        f"       Currents (Amps {side})             Voltages (kV {side})        1357 135",
        "".join(f"{name:>8}" for name in names) + " 246A 246",
    ]  # fmt: skip
    marks = {relay.trigger_row: ">", relay.trigger_row + 9: "*"}
    for number, values in enumerate(relay.table()):
        cycle = number // relay.per_cycle
        if cycle in skip:
            continue
        if number % relay.per_cycle == 0:
            lines.append(f"[{cycle + 1}]" if labels else "")
        cells = [f"{value:8.{places}f}" for value, places in zip(values, relay.decimals(), strict=True)]
        lines.append("".join(cells) + marks.get(number, " ") + ".... b..")
    lines += [
        "", "Protection and Control Elements", "[1]", ".......... ..........", "",
        f"Event: {relay.event}    Location:  {relay.location}     Shot:  0   Frequency: {relay.frequency_hz:.2f}",
        "Targets: INST 50", "Currents (A Pri), ABCNGQ:   2160   240   240     0  2300  2100", "",
        "Group 1", "Group Settings:", "RID   =FEEDER 1      TID   =STATION A", "CTR   = 120.00", "=>",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


SEL_351 = Relay()
SEL_551 = Relay(
    columns=("IA", "IB", "IC", "IN", "IG"), summary=(), identity=(), line_end="\r", settings=False, event="TRIP"
)
SEL_387 = Relay(
    columns=("IAW1", "IBW1", "ICW1", "IAW2", "IBW2", "ICW2", "VDC"),
    summary=("FREQ", "SAM/CYC_A", "SAM/CYC_D", "NUM_OF_CYC", "EVENT"),
    underscore="_",
    per_cycle=8,
    frequency_hz=50.0,
    event="TRIP1",
)
SEL_651R = replace(
    SEL_351,
    columns=(
        "IA", "IB", "IC", "IN", "IG", "VAY(kV)", "VBY(kV)", "VCY(kV)", "VAZ(kV)", "VBZ(kV)", "VCZ(kV)", "FREQ",
    ),
    per_cycle=32,
    scaled=False,
)  # fmt: skip
SEL_751 = Relay(
    columns=("IA(A)", "IB(A)", "IC(A)", "IN(A)", "IG(A)", "VA(V)", "VB(V)", "VC(V)", "*", "*", "FREQ"),
    summary=(
        "REC_NUM", "FREQ", "SAM/CYC_A", "SAM/CYC_D", "NUM_OF_CYC", "PRIM_VAL", "CTR_IA", "PTR_VA", "EVENT", "LOCATION",
        "TARGETS", "IA(A)", "IB(A)", "IC(A)",
    ),
    identity=("FID", "CEV_VER", "PART_NUM", "SER_NUM"),
    primary="NO",
    ct=120.0,
    vt=60.0,
    per_cycle=16,
    location="$$$$$$$$",
    line_end="\n",
    before="",
    after="",
)  # fmt: skip
SEL_421 = replace(
    SEL_351,
    columns=("IAW(A)", "IBW(A)", "ICW(A)", "VAY(kV)", "VBY(kV)", "VCY(kV)", "V1MEM", "FREQ", "VDC"),
    per_cycle=8,
    event="BCG T",
    volt=199_000.0,
    before="=>CEV 10001 L\r\n\r\n",
)
RELAYS = {
    "351": SEL_351, "551": SEL_551, "387": SEL_387, "651R": SEL_651R, "751": SEL_751, "421": SEL_421,
    "351 unfiltered": replace(SEL_351, per_cycle=16),
}  # fmt: skip
