"""Run ``faultline demo``: one minute of two dozen simulated lines, with the same processes as in production.

Broker, worker and replayer are child processes. This process is the subscriber: it reads the events from the topics
and scores them against the labels that the messages of windows carry.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from faultline.demo.audit import DemoWatch, SimulatedEvent, count_disturbances, read_simulated_events
from faultline.demo.processes import Child, child_environment, is_ready, logged_port
from faultline.demo.view import ViewFactory, view_for
from faultline.output import print_json
from model.spec import load_spec
from stream.detection.scoring import EventScore
from stream.settings import Settings

POLL_S = 0.25
START_DEADLINE_S = 180.0
"""Deadline for the start of each process. On a small machine the simulation, while the model compiles, is slowest."""
ANSWER_DEADLINE_S = 30.0
"""Longest wait for the next classified record; after that, the missing records are reported as lost."""
STOP_GRACE_S = 30.0
ABORT_GRACE_S = 3.0
COMMIT_INTERVAL_S = 0.5
"""Commit interval, half the default. Lag is counted from committed offsets, so this allows a small MAX_LAG_RECORDS."""
FETCH_MAX_WAIT_MS = 10
"""Wait of an empty fetch; it is short, since the embedded broker waits for all of it even if records arrive earlier."""
MAX_LAG_RECORDS = 2500
"""Lag at which the replay pauses. The embedded broker keeps 5 MiB per partition, which is 1,700 messages of four
windows. The default demo sends 1,200 messages per second, a third or more of them to one partition. The limit delays
the replay on a machine that is too slow, where it would otherwise lose windows."""
ADDRESS_FILE = "broker.address"
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


@dataclass(frozen=True)
class DemoOptions:
    """Options of a demo."""

    lines: int = 24
    seconds: float = 60.0
    seed: int = 7
    keep: Path | None = None


@dataclass
class Demo:
    """One run of the demo; ``children`` are its processes in the order in which they were started."""

    options: DemoOptions
    folder: Path
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    make_view: ViewFactory = view_for
    children: list[Child] = field(default_factory=list)

    async def run(self) -> int:
        """Run the demo and return the exit status."""
        recording, events = self.folder / "recording.parquet", self.folder / "simulated-events.json"
        try:
            self.console.print(f"starting an embedded broker, simulating {self.options.lines} lines …")
            # The folder may hold the address file of an earlier demo.
            (self.folder / ADDRESS_FILE).unlink(missing_ok=True)
            broker = self._child("broker", ["broker", "--port-file", ADDRESS_FILE, "--with-parent"], {})
            simulation = self._child("simulator", self._simulate(recording, events), {})
            address = await self._until(broker, "give its address", self._address_of_broker)
            environment = {
                "broker": address,
                "web_port": "0",
                "log_format": "json",
                "commit_interval_s": str(COMMIT_INTERVAL_S),
                "fetch_max_wait_ms": str(FETCH_MAX_WAIT_MS),
            }
            self.console.print(f"broker at {address}; starting the worker, which verifies and compiles the model …")
            worker = self._child("worker", ["worker", "--window-classes"], environment)
            await self._until(worker, "get ready", self._worker_is_ready)
            self.console.print("worker ready; waiting for the recording …")
            await self._until(simulation, "finish", lambda: _ended(simulation))
            self.console.print(simulation.out.read_text().strip().split(": ", 1)[-1])
            settings = Settings.model_construct(broker=address, window_classes=True)
            watch = DemoWatch(settings, load_spec("line"))
            return await self._watched(watch, worker, recording, environment, read_simulated_events(events))
        finally:
            self._stop_all()

    def _child(self, name: str, arguments: list[str], settings: dict[str, str]) -> Child:
        child = Child(name, arguments, self.folder, child_environment(**settings))
        self.children.append(child)
        return child

    def _simulate(self, recording: Path, events: Path) -> list[str]:
        options = self.options
        size = ["--lines", str(options.lines), "--seconds", str(options.seconds), "--seed", str(options.seed)]
        return ["simulate", *size, "--out", str(recording), "--events", str(events)]

    # Waiting ------------------------------------------------------------------------------------------------------

    async def _until(self, child: Child, what: str, ask: Callable[[], Any]) -> Any:
        """Return the first true result of ``ask``; raise if a child fails, ends too early or misses the deadline."""
        end = time.monotonic() + START_DEADLINE_S
        while True:
            for one in self.children:
                one.check()
            answer = ask()
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer:
                return answer
            if not child.running:
                raise child.failed(f"ended before it could {what}")
            if time.monotonic() > end:
                raise child.failed(f"did not {what} within {START_DEADLINE_S:.0f} s")
            await asyncio.sleep(POLL_S)

    def _address_of_broker(self) -> str | None:
        path = self.folder / ADDRESS_FILE
        return path.read_text().strip() if path.exists() else None

    async def _worker_is_ready(self) -> bool:
        port = logged_port(self.folder / "worker.log")
        return port is not None and await asyncio.to_thread(is_ready, port)

    # The run ------------------------------------------------------------------------------------------------------

    async def _watched(
        self,
        watch: DemoWatch,
        worker: Child,
        recording: Path,
        environment: dict[str, str],
        simulated: list[SimulatedEvent],
    ) -> int:
        async with watch:
            async with _running(watch) as reading:
                arguments = ["replay", str(recording), "--pace", "1", "--restamp", "--json"]
                replay = self._child("replayer", [*arguments, "--max-lag", str(MAX_LAG_RECORDS)], environment)
                view = self.make_view(self.console, watch, watch.spec, simulated, self.options.seconds)
                with view:
                    await self._while_replaying(replay, reading, watch, view.update)
                sent = json.loads(replay.out.read_text().splitlines()[-1])
                await self._until_answered(watch, reading, sent["confirmed_records"])
            self.console.print("all windows are sent; stopping the worker …")
            status = await asyncio.to_thread(worker.stop, STOP_GRACE_S)
            if status:
                raise worker.failed(f"did not stop cleanly (status {status})")
            # A worker that stopped cleanly has had all its records acknowledged, so the topics are complete now.
            await watch.drain()
        return self._report(watch, sent, simulated)

    async def _while_replaying(
        self, replay: Child, reading: asyncio.Task[None], watch: DemoWatch, show: Callable[[float], None]
    ) -> None:
        began_s: float | None = None
        while replay.running:
            self._check(reading)
            if began_s is None and watch.deliveries.records:
                began_s = time.monotonic()
            show(0.0 if began_s is None else time.monotonic() - began_s)
            await asyncio.sleep(POLL_S)
        replay.check()

    def _check(self, reading: asyncio.Task[None]) -> None:
        for child in self.children:
            child.check()
            if child.name in ("broker", "worker") and not child.running:
                raise child.failed("ended too early")
        if reading.done():
            reading.result()

    async def _until_answered(self, watch: DemoWatch, reading: asyncio.Task[None], records: int) -> None:
        """Wait until every record is classified or a dead letter, as long as there is progress."""
        end, done = time.monotonic() + ANSWER_DEADLINE_S, -1
        while watch.deliveries.records < records or watch.deliveries.outstanding:
            self._check(reading)
            now_done = watch.deliveries.records - watch.deliveries.outstanding
            if now_done != done:
                end, done = time.monotonic() + ANSWER_DEADLINE_S, now_done
            if time.monotonic() > end:
                return
            await asyncio.sleep(POLL_S)

    def _report(self, watch: DemoWatch, sent: dict[str, Any], simulated: list[SimulatedEvent]) -> int:
        score, deliveries = watch.score(), watch.deliveries
        # Windows that the broker acknowledged but this process did not read cannot be matched and count as lost.
        lost = deliveries.lost + max(0, sent["confirmed_windows"] - deliveries.windows)
        self._explain(score, watch)
        body = {
            "windows": sent["windows"],
            "lines": watch.truth.lines,
            "faults_injected": score.injected,
            "onsets": score.onsets,
            "correct": score.correct,
            "false_alarms": score.false_alarms,
            "missed": score.missed,
            "lost": lost,
            "p50_ms": _rounded(deliveries.latency_ms(50)),
            "p99_ms": _rounded(deliveries.latency_ms(99)),
            "onset_p50_ms": _rounded(watch.onset_latency_ms(50)),
            "onset_p99_ms": _rounded(watch.onset_latency_ms(99)),
            "stages": score.stages,
            "stages_reported": score.stages_reported,
            "types_injected": sorted(score.by_type),
            "types_onset": sorted(score.onset_types),
            "types_not_found": _not_found(score),
            "not_faults": count_disturbances(simulated),
            "records": sent["records"],
            "dead_lettered": deliveries.dead_lettered,
            "repeated": deliveries.repeated,
            "seconds": round(sent["seconds"], 1),
            "seed": self.options.seed,
        }
        print_json(body)
        return 0 if lost == 0 and sent["windows"] > 0 else 1

    def _explain(self, score: EventScore, watch: DemoWatch) -> None:
        for fault, held in score.not_correct:
            stages = " → ".join(watch.spec.class_names[stage.fault_class] for stage in fault.stages)
            at_s = watch.seconds_into(fault.begin)
            self.console.print(
                f"{at_s:6.2f} s  {fault.line}  injected {stages}: " + (f"classified as {held}" if held else "missed")
            )
        for episode, onset_class in score.false_episodes:
            at_s = watch.seconds_into(episode.at)
            self.console.print(f"{at_s:6.2f} s  {episode.line}  false alarm {onset_class}")

    def _stop_all(self) -> None:
        """Stop the running children in reverse order of their start, so that the worker ends before the broker."""
        for child in reversed(self.children):
            if child.running:
                child.process.terminate()
                child.stop(ABORT_GRACE_S)


@asynccontextmanager
async def _running(watch: DemoWatch) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(watch.run(), name="demo-watch")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _not_found(score: EventScore) -> list[str]:
    """Return the injected fault types without an onset; lll and lllg count as one type."""
    three = {"lll", "lllg"}
    found = score.onset_types | (three if score.onset_types & three else set())
    return sorted(set(score.by_type) - found)


def _ended(child: Child) -> bool:
    return child.process.poll() == 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


async def _interruptible(demo: Demo) -> int:
    task = asyncio.ensure_future(demo.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        demo.console.print("stopped; every process of the demo has ended")
        return INTERRUPTED


def run_demo(options: DemoOptions) -> int:
    """Run a demo and return its exit status.

    Raises:
        ChildFailedError: if a process of the demo failed; the message names it and shows the end of its log.
    """
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_interruptible(Demo(options, options.keep.resolve())))
    with tempfile.TemporaryDirectory(prefix="faultline-demo-") as folder:
        return asyncio.run(_interruptible(Demo(options, Path(folder))))
