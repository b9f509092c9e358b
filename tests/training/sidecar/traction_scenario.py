"""A substation that feeds a railway: trains draw a large current between two phases, with converter harmonics.

The training data of the shipped model contain nothing like it, and it resembles a fault between two phases through an
arc. This is a systematic mistake that only labels from production can repair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.drive import Drive
from domains.powerline.simulator.episodes import plan_of
from domains.powerline.simulator.events import PlannedEvent
from domains.powerline.simulator.measurement import Instruments, draw_chains, measure
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import solve
from domains.powerline.simulator.sweep import draw_networks
from model.artefact import Artefact, build_model
from model.spec import SignalSpec
from stream.contract import NS_PER_S, FaultEvent, SourceRecord
from stream.detection.decode import IncomingRecord, LineWindows
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import fault_event
from stream.windowing import cut_windows
from tests.stream.doubles import track
from training.fitting.rounds import classifier_of
from training.sidecar.label_client import OperatorLabel, episode_range, new_label
from training.sidecar.store.store import LabelledStore

BEGIN_NS = 1_767_225_600 * NS_PER_S
INSTRUMENTS = Instruments(noise_db=(40.0, 60.0), knee=(8.0, 60.0))


@dataclass(frozen=True)
class Train:
    """A train that draws ``current`` per unit between phases ``first`` and ``second`` from ``start_s`` to ``stop_s``.

    The current is ``lag`` rad behind the phases' voltage; ``third`` and ``fifth`` are its harmonics.
    """

    start_s: float
    stop_s: float
    current: float
    first: int
    second: int
    lag: float
    third: float
    fifth: float

    def apply(self, drive: Drive) -> None:
        """Add the train's current to ``drive`` in place."""
        rise = np.clip((drive.t - self.start_s) / 0.01, 0, 1) * np.clip((self.stop_s - drive.t) / 0.01, 0, 1)
        voltage = np.exp(1j * drive.theta[:, self.first]) - np.exp(1j * drive.theta[:, self.second])
        turned = np.angle(voltage) - self.lag
        drawn = np.cos(turned) + self.third * np.cos(3 * turned) + self.fifth * np.cos(5 * turned)
        drive.drawn[:, self.first] += self.current * rise * drawn
        drive.drawn[:, self.second] -= self.current * rise * drawn


@dataclass(frozen=True)
class Railway:
    """Records of passing trains.

    ``samples`` is float32 (records, t, 6), per unit, without a fault; ``line`` (records,) is each record's line number.
    """

    samples: NDArray[np.float32]
    line: NDArray[np.intp]

    def windows(self, spec: SignalSpec) -> NDArray[np.float32]:
        """Return all windows, float32 (records, windows, samples, channels)."""
        return np.ascontiguousarray(cut_windows(self.samples, spec))


def railway(records: int, seed: int, lines: int = 4, length_cycles: int = 40) -> Railway:
    """Simulate ``records`` passing trains on ``lines`` lines of one railway; each has its own phases and converters."""
    rng = np.random.default_rng(seed)
    length = length_cycles * SAMPLES_PER_CYCLE
    which = np.arange(records) % lines
    fed = draw_networks(lines, np.random.default_rng(seed // 1000), 50.0)
    network = fed.take(which)
    network = network.moved(position=rng.uniform(0.3, 0.7, records), angle=rng.uniform(0, 2 * np.pi, records))
    pairs = ((0, 1), (1, 2), (2, 0))
    plans = []
    for line in which:
        first, second = pairs[line % 3]
        start, stop = rng.uniform(0.1, 0.2), rng.uniform(0.5, 0.75)
        train = Train(start, stop, rng.uniform(0.8, 2.0), first, second, rng.uniform(0.1, 0.5), 0.25, 0.12)
        begin, end = round(start * 50 * SAMPLES_PER_CYCLE), round(stop * 50 * SAMPLES_PER_CYCLE)
        plans.append(plan_of([PlannedEvent("railway", begin, end, modulations=(train,))]))
    waves = solve(network, plans, length)
    return Railway(measure(waves.samples, draw_chains(records, rng, INSTRUMENTS), rng), which)


def events_of(passing: Railway, champion: Artefact, spec: SignalSpec) -> dict[str, list[FaultEvent]]:
    """Return the fault events, by episode, of a worker with ``champion``; every one of them is a false alarm.

    Every record is a line that begins cold.
    """
    classify = classifier_of(build_model(champion), champion.manifest.temperature)
    tracker, source = EpisodeTracker(spec), SourceRecord(topic="sensor-windows", partition=0, offset=0)
    episodes: dict[str, list[FaultEvent]] = {}
    records = passing.windows(spec)
    for number, (windows, probabilities) in enumerate(zip(records, classify(records), strict=True)):
        entry = windows_in_time(passing, number, len(windows))
        tracked = track(tracker, None, entry, windows, probabilities)
        for step in tracked.steps:
            event = fault_event(step, spec, champion.model_id, source)
            episodes.setdefault(event.episode_id, []).append(event)
    return episodes


def windows_in_time(passing: Railway, number: int, count: int) -> LineWindows:
    """Return the times of one record's windows: a train every ten seconds."""
    line, rate_hz = f"railway-{passing.line[number]}", 50.0 * SAMPLES_PER_CYCLE
    record = cast(IncomingRecord, None)  # what only dead letters need
    return LineWindows(record, line, 10_000 * number, BEGIN_NS + 10 * NS_PER_S * number, rate_hz, 0, count, None)


def store_windows(store: LabelledStore, passing: Railway, spec: SignalSpec) -> None:
    """Put all windows into a store, unlabelled, as they arrive from ``sensor-windows``."""
    for number, windows in enumerate(passing.windows(spec)):
        entry = windows_in_time(passing, number, len(windows))
        index = np.arange(len(windows))
        times = entry.start_ns + index * round(spec.hop * NS_PER_S / entry.rate_hz)
        store.add(entry.line, spec, times, entry.sequence + index, windows, source="sensor-windows")


def label_all(store: LabelledStore, episodes: dict[str, list[FaultEvent]], spec: SignalSpec) -> int:
    """Label every episode as ``faultline label EVENT_ID none`` does, and return the windows that this covers."""
    labelled = 0
    for events in episodes.values():
        first_ns, last_ns = episode_range(events, spec, fault=False, now_ns=BEGIN_NS * 2)
        label = new_label(events[0].line, spec, OperatorLabel("none", by="ada"), first_ns, last_ns, events[0].event_id)
        labelled += store.apply(label).windows
    return labelled
