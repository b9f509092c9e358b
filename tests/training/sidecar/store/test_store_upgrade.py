"""A store of Parquet files is upgraded completely and once, even if the process is killed at any step."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.spec import load_spec
from training.errors import StoreError
from training.sidecar.store.database import Database
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.upgrade import PREFIXES

OLD = Path(__file__).parents[1] / "folder_of_10f72e6" / "store"
ROOT = Path(__file__).resolve().parents[4]
SPEC, INSTANT = load_spec("line"), load_spec("instant")
WRITTEN_NS = 1_767_225_600_000_000_000 + 3600 * 10**9
FILES = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "store"))


def opened(folder: Path) -> LabelledStore:
    return LabelledStore(folder, clock=lambda: WRITTEN_NS)


def contents(folder: Path) -> list[object]:
    """Return everything that a store holds."""
    with opened(folder) as store:
        found: list[object] = [repr(part) for part in store.summary()]
        for spec in (SPEC, INSTANT):
            windows = store.windows(spec)
            found += [
                windows.data.tobytes(),
                windows.labels.tobytes(),
                windows.weights.tobytes(),
                windows.episode.tolist(),
            ]
        keys = "SELECT line, source, tier, label, operator_ns, first_ns, last_ns, windows FROM block ORDER BY 1, 6, 3"
        return [*found, store._database.rows(keys), store._database.rows("SELECT * FROM label")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Return the contents of a store whose upgrade was not interrupted."""
    return contents(Path(shutil.copytree(OLD, tmp_path_factory.mktemp("whole") / "store")))


def test_every_window_of_the_files_is_there_once_in_the_highest_tier_that_had_it(folder: Path) -> None:
    tiers: dict[str, dict[tuple[object, ...], str]] = {"line": {}, "instant": {}}
    for name, keys in tiers.items():
        for prefix, tier in reversed(list(zip(PREFIXES, ("labelled", "near_event", "recent"), strict=True))):
            for file in (folder / name).glob(f"{prefix}-*.parquet"):
                table = pq.read_table(file, columns=["line", "start_ns", "sequence"])
                keys |= dict.fromkeys(zip(*(column.to_pylist() for column in table.columns), strict=True), tier)
    with opened(folder) as store:
        for part in store.summary():
            held = list(tiers[part.spec].values())
            assert part.windows == {tier: held.count(tier) for tier in ("labelled", "near_event", "recent")}
        assert len(tiers["line"]) == 102 + 11 + 117


def test_nothing_of_the_old_store_is_left_and_a_second_opening_changes_nothing(
    folder: Path, whole: list[object]
) -> None:
    assert contents(folder) == whole
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "store.sqlite"]
    assert contents(folder) == whole


class Killed(BaseException):
    """End an upgrade at a point where a process could be killed."""


def kill_before(step: int, kill: Callable[[], None], replace: Callable[[object, str, object], None]) -> None:
    """Call ``kill`` before a step of an upgrade: the commits and the removals of files, counted from 0."""
    steps, rows, unlink = itertools.count(), Database.rows, Path.unlink

    def counted_rows(self: Database, statement: str, *values: object) -> object:
        if statement == "COMMIT" and next(steps) == step:
            kill()
        return rows(self, statement, *values)

    def counted_unlink(self: Path, missing_ok: bool = False) -> None:
        if self.suffix in (".parquet", ".json", ".jsonl") and next(steps) == step:
            kill()
        unlink(self, missing_ok)

    replace(Database, "rows", counted_rows)
    replace(Path, "unlink", counted_unlink)


def test_an_end_before_any_step_loses_and_repeats_nothing(
    tmp_path: Path, whole: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        raise Killed

    for step in itertools.count():
        folder = Path(shutil.copytree(OLD, tmp_path / f"{step}"))
        with monkeypatch.context() as patch:
            kill_before(step, kill, patch.setattr)
            try:
                opened(folder).close()
            except Killed:
                ended = True
            else:
                ended = False
        assert contents(folder) == whole
        if not ended:
            break
    assert step > 2 * FILES + 4


@pytest.mark.parametrize("step", [5, 12, 20])
def test_a_kill_loses_and_repeats_nothing(folder: Path, whole: list[object], step: int) -> None:
    child = subprocess.run([sys.executable, "-m", __name__, str(folder), str(step)], cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL
    assert contents(folder) == whole


def test_an_old_file_that_is_torn_or_of_another_spec_is_set_aside_and_the_others_are_used(folder: Path) -> None:
    torn, other = folder / "line" / "kept-000000000002.parquet", folder / "line" / "kept-000000000009.parquet"
    torn.write_bytes(torn.read_bytes()[:-100])
    shutil.copy(folder / "instant" / "kept-000000000001.parquet", other)
    for left in (folder / "line" / ".kept-000000000009.parquet.partial", folder / ".verdicts.jsonl.1-2.partial"):
        left.write_bytes(b"of a writer that was killed")
    with opened(folder) as store:
        assert len(store.windows(SPEC)) == 102 - 20
        assert {part.set_aside for part in store.summary()} == {2}
    left = sorted(path.name for path in folder.rglob("*"))
    assert left == [".lock", torn.with_suffix(".aside").name, other.with_suffix(".aside").name, "line", "store.sqlite"]


def test_files_left_twice_by_a_crash_count_once(folder: Path, whole: list[object]) -> None:
    path = folder / "line" / "kept-000000000001.parquet"
    os.link(path, path.with_name("kept-000000000007.parquet"))
    assert contents(folder)[2:6] == whole[2:6]


def test_a_torn_label_comes_again(folder: Path) -> None:
    path = folder / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    with opened(folder) as store:
        assert sum(part.labels for part in store.summary()) == 4


def test_a_folder_of_an_unknown_spec_stays(folder: Path) -> None:
    (folder / "line" / "spec.json").write_text("{}")
    with opened(folder) as store:
        assert [part.spec for part in store.summary()] == ["instant"]
    assert len(list((folder / "line").glob("*.parquet"))) == 5


def test_a_disk_that_is_full_ends_the_upgrade_and_leaves_the_file(
    folder: Path, whole: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, statement: str, values: object) -> None:
        raise StoreError("store: cannot be used: database or disk is full; make room or choose another folder")

    with monkeypatch.context() as patch:
        patch.setattr("training.sidecar.store.database.Database.run_many", full)
        with pytest.raises(StoreError, match="make room"):
            opened(folder)
    assert len(list(folder.glob("*/*.parquet"))) == FILES
    assert contents(folder) == whole


def test_windows_come_back_as_the_old_files_hold_them(folder: Path) -> None:
    table = pq.read_table(folder / "line" / "kept-000000000001.parquet")
    data = np.stack(table.column("data").to_pylist()).astype(np.float32).reshape(-1, *SPEC.window_shape)
    with opened(folder) as store:
        held = {window.tobytes() for window in store.windows(SPEC).data}
    assert {window.tobytes() for window in data} <= held


if __name__ == "__main__":
    kill_before(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL), setattr)
    opened(Path(sys.argv[1]))
