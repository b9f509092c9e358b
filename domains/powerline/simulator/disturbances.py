"""Plan disturbances that are not faults, for which a detector must raise no event.

``NON_FAULTS`` holds one function per kind, by name.
"""

from __future__ import annotations

import numpy as np

from domains.powerline.simulator.drive import AngleStep, Inrush, Load, MotorStart, Sag, Swing
from domains.powerline.simulator.events import ALL, Builder, LineContext, PlannedEvent, cycles, scattered_close
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import Command

# Largest angle of a swing; above it, one cycle of a swing looks like one cycle of a lasting three-phase arcing fault.
MOST_SWING_RAD = np.radians(105)


def pole_open(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan one pole that opens at both ends without a fault, and closes again after a dead time."""
    phase = int(rng.integers(3))
    poles = tuple(float(p == phase) for p in range(3))
    second = start + int(rng.integers(0, 2 * SAMPLES_PER_CYCLE))
    close = second + line.dead_samples(rng)
    last = close + cycles(rng.uniform(0.1, 3))
    first_end, second_end = rng.permutation(["local", "remote"])
    commands = [
        Command(start, "open_local" if first_end == "local" else "open_remote", poles),
        Command(second, "open_local" if second_end == "local" else "open_remote", poles),
        *scattered_close(rng, str(first_end), close, poles),
        *scattered_close(rng, str(second_end), last, poles),
    ]
    return PlannedEvent("pole_open", start, last + SAMPLES_PER_CYCLE, commands=tuple(commands))


def energising(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a line that is switched out, then energised from one end with pole scatter, then loaded again."""
    second = start + int(rng.integers(0, 3 * SAMPLES_PER_CYCLE))
    close = second + SAMPLES_PER_CYCLE + line.dead_samples(rng)
    last = close + cycles(rng.uniform(1, 10))
    first_out, second_out = rng.permutation(["local", "remote"])
    first_in, second_in = rng.permutation(["local", "remote"])
    commands = [
        Command(start, "open_local" if first_out == "local" else "open_remote", ALL),
        Command(second, "open_local" if second_out == "local" else "open_remote", ALL),
        *scattered_close(rng, str(first_in), close),
        *scattered_close(rng, str(second_in), last),
    ]
    return PlannedEvent("energising", start, last + SAMPLES_PER_CYCLE, commands=tuple(commands))


def load_step(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a three-phase or partly single-phase load that is connected and disconnected, or a change of load flow."""
    stop = start + line.lasting_samples(rng)
    rise = line.seconds(rng.uniform(1, 1.5 * SAMPLES_PER_CYCLE))
    if rng.random() < 0.35:
        most = min(np.radians(20), 0.8 * line.total_x)
        step = AngleStep(line.seconds(start), line.seconds(stop), rng.uniform(-most, most), rise)
        return PlannedEvent("load_step", start, stop, modulations=(step,))
    current = np.full(3, rng.uniform(0.05, 0.6))
    if rng.random() < 0.4:  # single-phase loads are small compared with the existing load
        most = 0.03 + min(0.2, 0.5 * line.load_current)
        current = rng.uniform(0.2, 1, 3) * most * (rng.random(3) < 0.5)
        current[rng.integers(3)] += 0.3 * most
    load = Load(line.seconds(start), line.seconds(stop), _three(current), rng.uniform(-0.2, 0.6), rise)
    return PlannedEvent("load_step", start, stop, modulations=(load,))


def capacitor(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a capacitor bank that is switched in pole by pole, and oscillates with the grid."""
    return switched_bank(line, rng, start, power=(0.03, 0.4), most=0.06)


def switched_bank(
    line: LineContext, rng: np.random.Generator, start: int, *, power: tuple[float, float], most: float
) -> PlannedEvent:
    """Plan a capacitor bank that is switched in and out.

    Args:
        line: line of the bank.
        rng: source of randomness.
        start: output sample at which the first pole closes.
        power: bounds of the reactive power, per unit.
        most: largest ratio of the grid's reactance to that of the bank, about the rise of the voltage per unit.
    """
    omega = 2 * np.pi * line.nominal_hz
    drawn = rng.uniform(*power)
    # The bank must not resonate with the grid's reactance near the mains frequency.
    farad = min(drawn / omega, most / (omega**2 * line.l_node))
    bank = np.zeros(3)
    commands = []
    at = start + np.sort(rng.integers(0, SAMPLES_PER_CYCLE // 4, 3)) * int(rng.random() < 0.7)
    for phase, sample in zip(rng.permutation(3), at, strict=True):
        bank[phase] = farad
        commands.append(Command(int(sample), "bank", _three(bank)))
    stop = start + line.lasting_samples(rng)
    commands.append(Command(stop, "bank", (0.0, 0.0, 0.0)))
    return PlannedEvent("capacitor", start, stop, commands=tuple(commands), parameters={"power": drawn})


def inrush(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan the energising of a transformer: a slowly decaying unipolar current with much second harmonic."""
    stop = start + max(line.lasting_samples(rng), cycles(6))
    remanence = rng.uniform(-0.8, 0.8)
    modulation = Inrush(
        line.seconds(start),
        line.seconds(stop),
        _three(remanence * np.array(rng.permutation([1.0, -0.5, -0.5]))),
        rng.uniform(1.1, 1.3),
        min(rng.uniform(0.3, 4.0), 0.6 / line.total_x),
        rng.uniform(0.05, 0.6),
        bool(rng.random() < 0.5),
    )
    return PlannedEvent("inrush", start, stop, modulations=(modulation,))


def swing(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a power swing between the two grids, up to a load angle of 105°, from which they recover."""
    rate = rng.uniform(0.4, 2.5) if line.timing.lasting[1] < 20 else rng.uniform(0.8, 2.5)
    turns = 1 if rate < 1.6 else int(rng.integers(1, 3))
    stop = start + cycles(turns * line.nominal_hz / rate)
    side = rng.choice([-1.0, 1.0])
    most = MOST_SWING_RAD - side * line.load_angle
    amplitude = side * most * rng.uniform(0.2, 1.0)
    modulation = Swing(line.seconds(start), line.seconds(stop), amplitude, rate)
    parameters: dict[str, float | str] = {"rate_hz": rate, "amplitude": amplitude}
    return PlannedEvent("swing", start, stop, modulations=(modulation,), parameters=parameters)


def sag(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a voltage sag of the whole region in some phases, nearly equal at both ends."""
    stop = start + max(line.lasting_samples(rng), cycles(2))
    phases = np.zeros(3)
    phases[rng.permutation(3)[: rng.integers(1, 4)]] = 1.0
    depth = phases * rng.uniform(0.08, 0.5) * rng.uniform(0.8, 1.0, 3)
    # The ends differ little, so that the current driven through the line is small compared with the load.
    driven = 0.02 + 0.2 * line.load_current
    difference = min(0.3, driven * line.total_x / max(float(depth.max()), 1e-6))
    local, remote = depth * rng.uniform(1 - difference, 1), depth * rng.uniform(1 - difference, 1)
    rise = line.seconds(rng.uniform(2, SAMPLES_PER_CYCLE))
    modulation = Sag(line.seconds(start), line.seconds(stop), _three(local), _three(remote), rise)
    return PlannedEvent("sag", start, stop, modulations=(modulation,), parameters={"depth": float(depth.max())})


def motor_start(line: LineContext, rng: np.random.Generator, start: int) -> PlannedEvent:
    """Plan a motor start: several times rated current, inductive and balanced, decreasing as the motor runs up."""
    run_up = line.lasting_samples(rng)
    stop = start + run_up + line.lasting_samples(rng) // 2
    modulation = MotorStart(
        line.seconds(start),
        line.seconds(stop),
        min(rng.uniform(3, 7) * rng.uniform(0.03, 0.2), 0.2 / line.total_x),
        np.radians(rng.uniform(60, 80)),
        line.seconds(run_up),
        rng.uniform(0.01, 0.05),
    )
    return PlannedEvent("motor_start", start, stop, modulations=(modulation,))


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


NON_FAULTS: dict[str, Builder] = {
    "pole_open": pole_open,
    "energising": energising,
    "load_step": load_step,
    "capacitor": capacitor,
    "inrush": inrush,
    "swing": swing,
    "sag": sag,
    "motor_start": motor_start,
}
