"""Check that a model's memory does not wear out, and that it learns another rating.

``python -m benchmarks.checks.lasting_memory`` lets lines run quietly for an hour of stream time, while loads ramp by a
factor of three, the frequency wanders and instruments are noisy. It counts the events of that hour, and compares the
judgement of a fault after it with the judgement of the same fault a second after a cold start. Then the current of each
line halves, as when a second circuit is switched in, and a fault follows a second later. Samples are made in blocks, so
memory is bounded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.line_sequences import steady_state
from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from model.spec import SignalSpec, load_spec
from stream.detection.classify import reject
from stream.detection.scoring import detect_episodes, score_events
from stream.detection.truth import injected_faults
from stream.windowing import cut_windows
from training.data.episodes import Episodes

HZ = 50.0
RATE = HZ * SAMPLES_PER_CYCLE
BLOCK_S = 10  # seconds of all lines that are in memory at a time
RAMP_S, LOAD_FACTOR = 600.0, 3.0  # period of the load, and its largest value over its smallest
WANDER_S, WANDER_HZ = 97.0, 0.3  # period of the frequency, and its largest deviation
NOISE_DB = 40.0


class Follower(Protocol):
    """Part of ``model.engine.Engine`` that the check needs."""

    @property
    def memory_units(self) -> int:
        """Number of values that the model remembers of a line."""

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities of windows, and the memories after them."""

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return a mask of the windows that are out of distribution."""


@dataclass(frozen=True)
class Judgement:
    """Events of the quiet time, and the faults after it."""

    quiet_hours: float
    quiet_events: int
    faults: int
    found: int
    correct: int

    def __str__(self) -> str:
        return (
            f"{self.quiet_events} events in {self.quiet_hours:.3f} quiet line-hours; {self.found} of {self.faults}"
            f" faults found, {self.correct} with the right class"
        )


def faults(lines: int, seed: int) -> Episodes:
    """Simulate a fault on each of ``lines`` lines, as it happens, without instruments."""
    return simulate(
        lines, seed, length_cycles=24, mix=ScenarioMix(1.0, disturbed_share=0.0), nominal_hz=HZ, instruments=None
    )


def quiet_blocks(
    records: Episodes, seconds: float, spec: SignalSpec, rng: np.random.Generator, *, stepped: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """Yield the quiet time before records, in blocks float32 (lines, t, 6) that end where the records begin.

    The first cycle of each record is continued backwards. Load and frequency return to those of the record at its
    begin.

    Args:
        records: records that begin with a cycle of a steady state.
        seconds: length of the quiet time.
        spec: spec of the windows; blocks are multiples of its hop.
        rng: source of the noise.
        stepped: factor on the currents until the last second.
    """
    total = round(seconds * RATE / spec.hop) * spec.hop
    block = round(BLOCK_S * RATE / spec.hop) * spec.hop
    frequency = np.array([float(line["frequency_hz"]) for line in records.lines]) / HZ
    # The cosine and sine parts of the first cycle, from the two quarters of a cycle before it.
    quarter = SAMPLES_PER_CYCLE // 4
    before = steady_state(records.samples, quarter, frequency).astype(np.float64)
    first = records.samples[:, 0].astype(np.float64)
    turned = 2 * np.pi * frequency[:, None] * quarter / SAMPLES_PER_CYCLE
    sine = (first * np.cos(turned) - before[:, 0]) / np.sin(turned)
    for begin in range(-total, 0, block):
        t = np.arange(begin, min(begin + block, 0))
        s = t / RATE
        angle = 2 * np.pi * (frequency[:, None] * t / SAMPLES_PER_CYCLE)
        angle = angle + WANDER_HZ * WANDER_S * (1 - np.cos(2 * np.pi * s / WANDER_S))
        samples = np.cos(angle)[:, :, None] * first[:, None] + np.sin(angle)[:, :, None] * sine[:, None]
        load = LOAD_FACTOR ** (-(1 - np.cos(2 * np.pi * s / RAMP_S)) / 2) * np.where(s < -1, stepped, 1.0)
        samples[:, :, :3] *= load[None, :, None]
        yield noisy(samples, rng)


def noisy(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add noise below the RMS value of every channel of a block."""
    rms = np.sqrt(np.square(samples).mean(axis=1, keepdims=True))
    noise = rng.standard_normal(samples.shape, np.float32) * (rms * 10 ** (-NOISE_DB / 20)).astype(np.float32)
    return np.asarray(samples.astype(np.float32) + noise)


def judge(
    engine: Follower, records: Episodes, seconds: float, spec: SignalSpec, seed: int, *, stepped: float = 1.0
) -> Judgement:
    """Follow lines from a cold start through quiet time and one fault each.

    Args:
        engine: model to check.
        records: records with a fault each, see ``faults``.
        seconds: length of the quiet time.
        spec: spec of the windows.
        seed: seed of the noise.
        stepped: factor on the currents until a second before the records.
    """
    rng, lines = np.random.default_rng(seed), len(records)
    memory = np.zeros((lines, engine.memory_units), np.float32)
    carried = np.empty((lines, 0, len(spec.channels)), np.float32)
    overlap, events, samples = spec.samples - spec.hop, 0, 0
    for block in quiet_blocks(records, seconds, spec, rng, stepped=stepped):
        stretch = np.concatenate([carried, block], axis=1)
        answers, memory = _followed(engine, stretch, memory, spec)
        events += len(detect_episodes(answers, stretch, spec))
        carried, samples = stretch[:, -overlap:], samples + block.shape[1]
    stretch = np.concatenate([carried, noisy(records.samples.astype(np.float64), rng)], axis=1)
    answers, _ = _followed(engine, stretch, memory, spec)
    labels = np.concatenate([np.zeros((lines, carried.shape[1]), np.int8), records.labels], axis=1)
    score = score_events(
        injected_faults(labels, spec.none_index), detect_episodes(answers, stretch, spec), spec, line_hours=1.0
    )
    return Judgement(lines * samples / RATE / 3600, events, score.injected, score.found, score.correct)


def _followed(
    engine: Follower, samples: NDArray[np.float32], memory: NDArray[np.float32], spec: SignalSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the probabilities (lines, windows, classes) of a stretch, after rejection, and the memories after it."""
    windows = np.ascontiguousarray(cut_windows(samples, spec))
    lines, steps = windows.shape[:2]
    flat = windows.reshape(lines * steps, *spec.window_shape)
    probabilities, memory = engine.follow(flat, np.repeat(np.arange(lines), steps), memory)
    answers, _ = reject(probabilities, engine.is_ood(flat), spec.none_index)
    return answers.reshape(lines, steps, -1), memory


def main() -> None:
    """Run the check and print its figures."""
    from model.artefact import Artefact, shipped
    from model.engine import Engine

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="path of an artefact [default: the shipped one]")
    options.add_argument("--lines", type=int, default=12, help="number of lines")
    options.add_argument("--seconds", type=float, default=3600.0, help="length of the quiet time")
    options.add_argument("--seed", type=int, default=5, help="seed of lines, faults and noise")
    asked = options.parse_args()
    spec = load_spec("line")
    records = faults(asked.lines, asked.seed)
    artefact = shipped("line") if asked.model is None else Artefact.load(asked.model)
    with Engine(artefact) as engine:
        for name, seconds, stepped in (
            ("after a second", 1.0, 1.0),
            (f"after {asked.seconds:g} s", asked.seconds, 1.0),
            ("a second after the current halved", 60.0, 2.0),
            ("a second after the current doubled", 60.0, 0.5),
        ):
            begun = time.perf_counter()
            found = judge(engine, records, seconds, spec, asked.seed, stepped=stepped)
            print(f"{name}: {found} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
