"""Every example runs as its docstring says, in a process of its own, and prints what it says."""

from __future__ import annotations

import ast
import asyncio
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from domains.powerline.waveforms import open_waveforms
from faultline.testing import START_NS, fault_events, publish
from model.artefact import shipped
from model.engine import Engine
from model.spec import load_spec
from stream.contract import NS_PER_S
from stream.detection.offline import Detector
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.reading.reader import StartAt, TopicReader
from stream.settings import Settings
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record
from tests.model.model_samples import artefact_of

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
FILES = sorted(EXAMPLES.rglob("*.py"))
MOST_LINES = 80
SPEC = load_spec("line")
ALLOWED = {*sys.stdlib_module_names, "faultline", "numpy", "pydantic", "aiokafka"}
"""Modules that an example may import: the public API, and packages that its reader has anyway."""


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of an example: nothing of Faultline's but ``settings``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAULTLINE_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3", **settings}


def run(script: str, *arguments: str | Path, status: int = 0, **settings: str) -> str:
    """Run an example to its end and return what it printed."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**settings), check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(script: str, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example that ends only when it is interrupted."""
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(**settings)) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def publishing(settings: Settings, faults: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Publish events of faults (class and line), later ones each time, until the context ends.

    A subscriber that starts at the latest event does not report when it has subscribed.
    """
    ended = threading.Event()

    def publish_on() -> None:
        for number in itertools.count():
            start_ns = START_NS + number * 10 * NS_PER_S
            each = (fault_events(name, SPEC, line=line, start_ns=start_ns) for name, line in faults)
            asyncio.run(publish(settings, itertools.chain.from_iterable(each)))
            if ended.wait(0.2):
                return

    with ThreadPoolExecutor(1) as pool:
        publisher = pool.submit(publish_on)
        try:
            yield
        finally:
            ended.set()
        publisher.result()


def test_detect_comtrade_finds_the_faults_of_the_record_that_it_simulates() -> None:
    printed = run("detect_comtrade.py")
    found = re.findall(r"^simulated\.cfg \w+: (\w+) at [\d.]+ s for \d+ ms, confidence [\d.]+%$", printed, re.MULTILINE)
    assert found == ["ABCG", "AB", "ABG"]
    assert printed.count("\n") == len(found)


def test_the_record_that_detect_comtrade_writes_is_a_sound_one(tmp_path: Path) -> None:
    program = f"import sys, pathlib; sys.path.insert(0, {str(EXAMPLES)!r}); import detect_comtrade; "
    program += f"print(detect_comtrade.simulated_record(pathlib.Path({str(tmp_path)!r})))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    record = open_waveforms(done.stdout.strip())
    assert not {finding.code for finding in record.findings if finding.level == "warning"}
    (line,) = record.lines
    assert sorted(line.sources) == sorted(SPEC.channels)


def test_detect_comtrade_reads_the_files_that_it_is_given(tmp_path: Path) -> None:
    shape = Shape()
    faulty = write_record(tmp_path, shape, load_waves(shape, fault_s=0.1), "faulty").path
    healthy = write_record(tmp_path, shape, load_waves(shape), "healthy").path
    brief_shape = Shape(segments=((4800.0, 72),))
    brief = write_record(tmp_path, brief_shape, load_waves(brief_shape), "brief").path
    printed = run("detect_comtrade.py", faulty, tmp_path / "missing.cfg", healthy, brief, status=1).splitlines()
    assert len(printed) == 3
    assert re.fullmatch(r"faulty\.cfg \S+: BG at 0\.\d+ s, confidence [\d.]+%", printed[0])
    assert printed[1] == "healthy.cfg healthy: no fault"
    assert printed[2].startswith("brief.cfg brief: not judged: the record lasts 14.8 ms, too short for a window")


def test_subscribe_prints_onsets_and_clears_of_the_chosen_types(embedded_broker: EmbeddedBroker) -> None:
    settings = Settings(broker=embedded_broker.bootstrap, _env_file=None)
    with (
        running("subscribe.py", "lg", FAULTLINE_BROKER=embedded_broker.bootstrap) as process,
        publishing(settings, [("AB", "feeder-6"), ("AG", "feeder-7")]),
    ):
        assert process.stdout is not None
        # The first line may be a clear: the subscription began between it and its onset.
        lines = itertools.dropwhile(lambda line: " cleared " in line, process.stdout)
        printed = [next(lines) for _ in range(4)]
    for onset, clear in (printed[:2], printed[2:]):
        assert re.fullmatch(r"feeder-7: AG since 2023-11-14T[\d:.]{12}\+00:00, confidence [\d.]+%\n", onset)
        assert re.fullmatch(r"feeder-7: AG cleared after 0\.\d{3} s\n", clear)


async def test_send_windows_sends_what_a_worker_reads(embedded_broker: EmbeddedBroker) -> None:
    settings = Settings(broker=embedded_broker.bootstrap, _env_file=None)
    printed = await asyncio.to_thread(run, "send_windows.py", "feeder-9", FAULTLINE_BROKER=embedded_broker.bootstrap)
    records = []
    async with TopicReader(settings, [settings.topic_windows], StartAt("earliest")) as reader:
        async for fetched in reader.read_to_end():
            records += [record for part in fetched.values() for record in part]
    with Engine(shipped("line")) as engine:
        found = Detector(engine, SPEC).process(records)
    assert len(found.batch.dead) == 0
    assert printed == f"feeder-9: {len(found.classes)} windows sent\n"
    assert {record.key for record in records} == {b"feeder-9"}
    assert [event.fault_class for event in found.events if event.state == "onset"] == ["ABCG", "AB", "ABG"]


@pytest.mark.slow
def test_compare_models_tells_where_two_models_differ(tmp_path: Path) -> None:
    recording, other = tmp_path / "recording.parquet", tmp_path / "other.safetensors"
    simulated = ("simulate", "--lines", "1", "--seconds", "6.4", "--seed", "4", "--out", str(recording))
    subprocess.run([sys.executable, "-m", "faultline", *simulated], check=True, env=environment(), cwd=REPOSITORY)
    artefact_of(SPEC).save(other)
    same = run("compare_models.py", recording, "line", "line")
    assert re.fullmatch(r"(line-\w+) and \1: ([1-9]) of \2 faults are the same, 0 of \d+ windows .*\n", same)
    *faults, summary = run("compare_models.py", recording, "line", other, status=3).splitlines()
    assert faults
    for fault in faults:
        assert re.fullmatch(r"line-0000 at \d+\.\d{3} s, (different|only first|only second): \S.*", fault)
    assert re.search(r": \d+ of \d+ faults are the same, [1-9]\d* of \d+ windows are classified differently$", summary)


def test_the_package_of_the_own_domain_installs_by_pip_and_its_spec_is_there(tmp_path: Path) -> None:
    # Not imported: both replace distutils, which other tests of this process may have imported before.
    if find_spec("pip") is None or find_spec("setuptools") is None or int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("no pip, or no setuptools 77")
    project, target = tmp_path / "project", tmp_path / "installed"
    shutil.copytree(EXAMPLES / "own_domain", project)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(project)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    program = "import faultline; print(faultline.load_spec('machine').domain)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=os.pathsep.join([str(target), str(REPOSITORY)])),
        cwd=tmp_path,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("machines\n", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_an_example_uses_the_public_api_only(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(str(node.module))
    assert {name for name in imported if name.partition(".")[0] not in ALLOWED} == set()
    assert not any(name.startswith("faultline.") for name in imported)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_says_how_it_is_run(script: Path) -> None:
    text = script.read_text("utf-8")
    assert text.count("\n") <= MOST_LINES
    assert f"\n    python examples/{script.name}" in str(ast.get_docstring(ast.parse(text), clean=False))


def test_the_list_of_examples_is_complete() -> None:
    listed = re.findall(r"^\| \[`([^`]+)`\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted([*(path.name for path in SCRIPTS), "own_domain/"])
    assert all((EXAMPLES / target).exists() for _, target in listed)
