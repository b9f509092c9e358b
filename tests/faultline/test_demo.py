"""The demo reports what really went through the topics, and no process outlives it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console

from domains.powerline.events import PowerLineFaultEvent
from faultline.demo.audit import DemoWatch, SimulatedEvent
from faultline.demo.processes import REPOSITORY, Child, ChildFailedError, child_environment
from faultline.demo.view import LiveView, PlainView, Throughput
from model.architectures import build
from model.artefact import Artefact
from model.normalisation import Normalisation
from model.spec import load_spec
from stream.contract import FaultEvent, SourceRecord
from stream.kafka.clients import producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.settings import Settings
from stream.windowing import window_messages

SPEC = load_spec("line")
RATE_HZ = 1600.0
START_NS = 1_700_000_000_000_000_000
DEADLINE_S = 120.0

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.05)


def processes_in(folder: Path) -> list[int]:
    """Return the processes that run in a folder, as all children of a demo do."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


# Whole demos ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artefact that classifies at random: delivery does not depend on the classes."""
    path = tmp_path_factory.mktemp("artefact") / "line.safetensors"
    normalisation = Normalisation.identity(len(SPEC.channels))
    model = build("gru", SPEC, normalisation, seed=1)
    Artefact.from_model(
        model, SPEC, normalisation=normalisation, temperature=1.0, metrics={}, provenance={"command": "pytest"}
    ).save(path)
    return path


class RunningDemo:
    def __init__(self, folder: Path, model: Path, *arguments: str) -> None:
        self.folder = folder / "demo"
        environment = {**os.environ, "FAULTLINE_MODEL": str(model), "FAULTLINE_BROKER": "production.invalid:9092"}
        command = [sys.executable, "-m", "faultline", "demo", "--keep", str(self.folder), *arguments]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err

    def wait_for(self, name: str) -> None:
        until(lambda: (self.folder / name).exists() or self.process.poll() is not None, f"{name} appears")
        assert self.process.poll() is None, self.end()


@pytest.fixture
def run_demo(tmp_path: Path, untrained: Path) -> Iterator[Callable[..., RunningDemo]]:
    started: list[RunningDemo] = []

    def run(*arguments: str, model: Path = untrained) -> RunningDemo:
        started.append(RunningDemo(tmp_path, model, *arguments))
        return started[-1]

    yield run
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.communicate()


@pytest.mark.slow
@needs_proc
def test_a_demo_ends_by_itself_with_every_window_answered(run_demo: Callable[..., RunningDemo]) -> None:
    demo = run_demo("--lines", "4", "--seconds", "4")
    status, out, err = demo.end()
    assert status == 0, err
    body = json.loads(out.splitlines()[-1])
    counts = ["windows", "lines", "faults_injected", "onsets", "correct", "false_alarms", "missed", "lost"]
    assert list(body)[:10] == [*counts, "p50_ms", "p99_ms"]
    assert body["windows"] == 4 * ((4 * RATE_HZ - SPEC.samples) // SPEC.hop + 1)
    assert (body["lines"], body["lost"], body["dead_lettered"]) == (4, 0, 0)
    assert body["faults_injected"] > 0
    assert body["p99_ms"] >= body["p50_ms"] > 0
    assert processes_in(demo.folder) == []


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("moment", ["simulator.out", "replayer.out"])
def test_ctrl_c_leaves_no_process_behind(run_demo: Callable[..., RunningDemo], moment: str) -> None:
    demo = run_demo("--lines", "2", "--seconds", "100")
    demo.wait_for(moment)
    # The log is opened just before its process begins.
    until(lambda: len(processes_in(demo.folder)) >= 2, "children run")
    demo.process.send_signal(signal.SIGINT)
    status, out, _ = demo.end()
    assert status == 130
    assert "stopped" in out
    assert processes_in(demo.folder) == []


@pytest.mark.slow
@needs_proc
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
def test_a_killed_demo_takes_its_processes_with_it(run_demo: Callable[..., RunningDemo]) -> None:
    demo = run_demo("--lines", "2", "--seconds", "100")
    demo.wait_for("replayer.out")
    until(lambda: len(processes_in(demo.folder)) == 3, "broker, worker and replayer run")
    demo.process.kill()
    demo.process.communicate()
    until(lambda: not processes_in(demo.folder), "all processes gone")


@pytest.mark.slow
@needs_proc
def test_a_child_that_fails_is_named_with_the_end_of_its_log(
    run_demo: Callable[..., RunningDemo], tmp_path: Path
) -> None:
    demo = run_demo("--lines", "2", "--seconds", "4", model=tmp_path / "no-such-artefact")
    status, _, err = demo.end()
    assert status == 1
    assert re.search("the worker ended (with status|before it could get ready)", err)
    assert "no-such-artefact" in err
    assert processes_in(demo.folder) == []


# Children -------------------------------------------------------------------------------------------------------------


def test_production_settings_do_not_reach_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_BROKER", "production:9092")
    monkeypatch.setenv("FAULTLINE_SASL_PASSWORD", "secret")
    monkeypatch.setenv("FAULTLINE_MODEL", "mine.safetensors")
    environment = child_environment(web_port="0")
    ours = {name: value for name, value in environment.items() if name.startswith("FAULTLINE_")}
    assert ours == {"FAULTLINE_WEB_PORT": "0", "FAULTLINE_MODEL": str(Path.cwd() / "mine.safetensors")}


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    child = Child("broker", ["broker", "--port-file", "address"], tmp_path, child_environment())
    until((tmp_path / "address").exists, "the broker is up")
    os.kill(child.pid, signal.SIGSTOP)
    assert child.stop(grace_s=0.2) == -signal.SIGKILL
    with pytest.raises(ChildFailedError, match="the broker ended with signal SIGKILL"):
        raise child.failed("ended with signal SIGKILL")


def test_a_failed_child_says_what_it_wrote(tmp_path: Path) -> None:
    child = Child("replayer", ["replay", "nothing.parquet"], tmp_path, child_environment())
    until(lambda: not child.running, "it ends")
    with pytest.raises(ChildFailedError, match=r"the replayer ended with status 1[\s\S]*no such file to replay"):
        child.check()


# Records read from the topics -----------------------------------------------------------------------------------------


def event(event_id: str, fault_class: str, detection_ns: int, offset: int, line: str = "line-1") -> FaultEvent:
    known = SPEC.classes[SPEC.class_index(fault_class)]
    return PowerLineFaultEvent(
        event_id=event_id,
        episode_id=line,
        line=line,
        state="onset",
        fault_class=fault_class,
        fault_type=known.type,
        phases=known.phases,
        ground=known.ground,
        ground_probability=0.5,
        confidence=0.75,
        probabilities={fault_class: 0.75},
        inception_ns=detection_ns - 10_000_000,
        detection_ns=detection_ns,
        spec="line",
        model_id="m",
        sequence=1,
        source=SourceRecord(topic="sensor-windows", partition=0, offset=offset),
    )


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker) -> Settings:
    return Settings.model_construct(broker=embedded_broker.bootstrap)


@pytest.fixture
async def watch(settings: Settings) -> DemoWatch:
    """Return a watch of a line with one fault (0.5 to 0.7 s): 25 messages, one unanswered, one dead; two onsets."""
    labels = np.zeros(1600, int)
    labels[800:1120] = SPEC.class_index("BC")
    samples = np.zeros((1600, 6), np.float32)
    messages = list(
        window_messages(
            "line-1", samples, SPEC, rate_hz=RATE_HZ, start_ns=START_NS, labels=labels, windows_per_message=8
        )
    )
    watch = DemoWatch(settings, SPEC)
    async with watch, AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        for number, message in enumerate(messages):
            await producer.send_and_wait("sensor-windows", message.value, partition=0, timestamp_ms=1000, key=b"line-1")
            source = {"topic": "sensor-windows", "partition": 0, "offset": number}
            if number == 0:
                headers = [(f"faultline.error.{name}", str(value).encode()) for name, value in source.items()]
                await producer.send_and_wait("sensor-windows.dlq", message.value, headers=headers)
            elif number != 1:
                answer = msgspec.msgpack.encode({"count": message.count, "source": source})
                await producer.send_and_wait("window-classes", answer, timestamp_ms=1000 + number)
        right = event("right", "BC", START_NS + 550_000_000, offset=10)
        wrong = event("wrong", "AG", START_NS + 100_000_000, offset=3, line="line-2")
        for topic, one in (("faults.ll", right), ("faults.llg", right), ("faults.lg", wrong)):
            await producer.send_and_wait(topic, one.model_dump_json().encode(), timestamp_ms=1042)
        await watch.drain()
    return watch


async def test_lost_windows_are_those_neither_answered_nor_dead_lettered(watch: DemoWatch) -> None:
    assert watch.deliveries.records == 25
    assert watch.deliveries.windows == 197
    assert watch.deliveries.lost == 8
    assert watch.deliveries.outstanding == 1
    assert watch.deliveries.dead_lettered == 1
    assert watch.deliveries.latency_ms(100) == 24


async def test_an_event_on_two_topics_counts_once_and_is_scored_by_the_labels(watch: DemoWatch) -> None:
    score = watch.score()
    assert (score.injected, score.onsets, score.correct, score.missed, score.false_alarms) == (1, 2, 1, 0, 1)
    assert watch.onset_latency_ms(50) == 42
    assert watch.seconds_into(START_NS + 500_000_000) == 0.5


async def test_plain_lines_tell_each_onset_once_with_what_was_injected(
    watch: DemoWatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = [SimulatedEvent("line-2", "sag", 0.05, 0.2)]
    with PlainView(Console(), watch, SPEC, simulated, 1.0) as view:
        view.update(0.0)
        view.update(6.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "onset" in line] == [
        ["0.10", "s", "line-2", "onset", "AG", "75.0%", "injected", "sag"],
        ["0.55", "s", "line-1", "onset", "BC", "75.0%", "injected", "BC"],
    ]
    assert [line for line in lines if "false alarms 1" in line]


async def test_the_live_table_shows_events_and_counters(watch: DemoWatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with LiveView(console, watch, SPEC, [], 1.0) as view:
        view.update(0.5)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "line-1" in shown
    assert "75.0%" in shown
    assert "faults 1, correct 1, wrong 0, missed 0, false alarms 1" in shown


def test_throughput_is_of_the_last_seconds() -> None:
    now = [0.0]
    throughput = Throughput(lambda: now[0], span_s=3.0)
    rates = []
    for second, windows in enumerate([0, 100, 200, 300, 1300, 2300, 3300]):
        now[0] = float(second)
        rates.append(throughput.update(windows))
    assert rates[0] == 0.0
    assert rates[3] == 100.0
    assert rates[-1] == 1000.0
