"""Write the two small COMTRADE records of the tutorial "Your first own record" into the working directory.

Both hold the same second of a 110 kV feeder: healthy, a fault between phases B and C from 0.400 s to 0.520 s, healthy.
``feeder.cfg`` names its channels; ``unnamed.cfg`` numbers them, as some recorders do.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

RATE_HZ, MAINS_HZ, SECONDS = 4800, 50, 1.0
RATED_A, RATED_V = 400.0, 110_000.0  # primary, of the current and voltage transformers
BEGIN_S, END_S = 0.400, 0.520
RESOLUTION = {"A": 0.25, "V": 10.0}  # one count of the recorder
NAMES = ("IA", "IB", "IC", "VA", "VB", "VC")


def sample(at_s: float) -> list[float]:
    """Return the currents in A and the voltages in V of one instant."""
    turn = 2 * math.pi * MAINS_HZ * at_s
    angles = [turn - 2 * math.pi * phase / 3 for phase in range(3)]
    currents = [0.5 * math.cos(angle - 0.3) for angle in angles]
    voltages = [math.cos(angle) for angle in angles]
    if BEGIN_S <= at_s < END_S:
        # The loop of both phases: 75° behind its voltage, with a decaying direct component from the first instant.
        def loop(time_s: float) -> float:
            return 6.0 * math.sin(2 * math.pi * MAINS_HZ * time_s - 2 * math.pi / 3 + math.radians(90 - 75 + 90))

        fault = loop(at_s) - loop(BEGIN_S) * math.exp(-(at_s - BEGIN_S) / 0.03)
        currents[1], currents[2] = currents[1] + fault, currents[2] - fault
        middle, half = (voltages[1] + voltages[2]) / 2, 0.2 * (voltages[1] - voltages[2])
        voltages[1], voltages[2] = middle + half, middle - half
    peaks = [RATED_A * math.sqrt(2)] * 3 + [RATED_V * math.sqrt(2 / 3)] * 3
    return [value * peak for value, peak in zip([*currents, *voltages], peaks, strict=True)]


def write(stem: str, names: tuple[str, ...], phases: tuple[str, ...]) -> None:
    """Write one record: a header (.cfg) and samples as text (.dat), by IEEE C37.111-1999."""
    noise = random.Random(7)  # noqa: S311  # the same record every time; no secret
    header = ["Substation,Recorder,1999", "6,6A,0D"]
    for number, (name, phase) in enumerate(zip(names, phases, strict=True), start=1):
        unit = "A" if number <= 3 else "V"
        ratio = f"{RATED_A:g},1" if unit == "A" else f"{RATED_V:g},100"
        header.append(f"{number},{name},{phase},,{unit},{RESOLUTION[unit]:g},0,0,-99999,99999,{ratio},P")
    count = round(RATE_HZ * SECONDS)
    start = "02/01/2026,12:00:00.000000"
    header += [f"{MAINS_HZ}", "1", f"{RATE_HZ},{count}", start, start, "ASCII", "1"]
    rows = []
    for index in range(count):
        values = sample(index / RATE_HZ)
        counts = [
            round(value / RESOLUTION["A" if k < 3 else "V"] + noise.gauss(0, 2)) for k, value in enumerate(values)
        ]
        rows.append(",".join(map(str, [index + 1, round(index * 1e6 / RATE_HZ), *counts])))
    Path(f"{stem}.cfg").write_text("\n".join(header) + "\n", encoding="ascii")
    Path(f"{stem}.dat").write_text("\n".join(rows) + "\n", encoding="ascii")
    print(f"wrote {stem}.cfg and {stem}.dat")


write("feeder", NAMES, tuple("ABCABC"))
write("unnamed", tuple(f"CH{number}" for number in range(1, 7)), ("",) * 6)
