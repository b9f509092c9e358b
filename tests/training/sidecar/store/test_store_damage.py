"""A store with a damaged file uses what can be read, sets the file aside, and logs the counts of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.training.sidecar.store.test_store import AG, SMALL, SPEC, fill, operator_label
from training.errors import StoreError
from training.sidecar.store.database import FILE, PAGE_BYTES
from training.sidecar.store.store import LabelledStore

BLOCKS, BLOCK = 12, 64
ALL = BLOCKS * BLOCK


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the database of a store with some blocks of labelled windows and a label."""
    folder = tmp_path_factory.mktemp("whole")
    with LabelledStore(folder, SMALL) as store:
        for k in range(BLOCKS):
            fill(store, "a", BLOCK, AG, first=k * BLOCK)
            store.flush()
        store.apply(operator_label("AG", 0, BLOCK - 1))
    return (folder / FILE).read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes) -> Path:
    (tmp_path / FILE).write_bytes(whole)
    return tmp_path / FILE


def overwrite(path: Path, page: int, count: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(bytes(count * PAGE_BYTES))


@dataclass(frozen=True)
class Found:
    """The contents and the log of a store that was opened on a damaged file."""

    windows: int
    set_aside: int
    saved: int
    lost: int


def reopened(path: Path) -> Found:
    with capture_logs() as logs, LabelledStore(path.parent, SMALL) as store:
        # All windows are sent again, as by a reader from the topic's beginning, so those that are lost are new.
        windows = len(store.windows(SPEC))
        assert fill(store, "a", ALL, AG) == ALL - windows
        assert len(store.windows(SPEC)) == ALL
        set_aside = store.summary()[0].set_aside
    warnings = [entry for entry in logs if entry["event"] == "store-file-set-aside"]
    dropped = sum(entry["windows_lost"] for entry in logs if entry["event"] == "store-block-dropped")
    saved = sum(entry["windows_saved"] for entry in warnings)
    with LabelledStore(path.parent, SMALL) as store:
        assert len(store.windows(SPEC)) == ALL
        assert store.summary()[0].set_aside == 0
    return Found(windows, set_aside, saved, dropped + sum(entry["windows_lost"] for entry in warnings))


def test_a_page_of_zeros_anywhere_costs_one_block_at_most_but_for_the_root_of_the_blocks(path: Path) -> None:
    whole = path.read_bytes()
    with LabelledStore(path.parent, SMALL) as store:
        ((root,),) = store._database.rows("SELECT rootpage FROM sqlite_master WHERE name='block'")
    for page in {*range(12), *range(12, len(whole) // PAGE_BYTES, 7)} - {root - 1}:
        for old in path.parent.glob("store*"):
            old.unlink()
        path.write_bytes(whole)
        overwrite(path, page)
        found = reopened(path)
        assert found.windows >= ALL - BLOCK, page
        assert found.windows + found.lost == ALL, page
        if found.set_aside:
            assert found.saved >= found.windows
            assert (path.parent / "store-1.aside").exists()
        else:
            assert found.lost == BLOCK, "no check but that of the samples finds it"


def test_a_damaged_root_of_the_blocks_costs_them_and_leaves_labels(path: Path) -> None:
    with LabelledStore(path.parent, SMALL) as store:
        ((root,),) = store._database.rows("SELECT rootpage FROM sqlite_master WHERE name='block'")
    overwrite(path, root - 1)
    assert reopened(path) == Found(windows=0, set_aside=1, saved=0, lost=ALL)
    with LabelledStore(path.parent, SMALL) as store:
        assert store.apply(operator_label("AG", 0, BLOCK - 1)).known


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_file_that_was_cut_is_salvaged_as_far_as_it_goes(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    found = reopened(path)
    assert found.windows >= (share - 0.2) * ALL
    assert found.windows + found.lost == ALL
    assert found.set_aside == 1


def test_a_file_that_is_no_database_is_set_aside(path: Path) -> None:
    path.write_bytes(b"no database" * 10_000)
    found = reopened(path)
    assert (found.windows, found.set_aside) == (0, 1)
    assert (path.parent / "store-1.aside").exists()


def test_damage_that_comes_while_the_store_is_open_is_a_store_error(path: Path) -> None:
    size = path.stat().st_size // PAGE_BYTES
    with LabelledStore(path.parent, SMALL) as store:
        overwrite(path, 1, size - 1)
        with pytest.raises(StoreError, match=r"is damaged: .*; restart, which saves all readable rows"):
            store.windows(SPEC)
        with pytest.raises(StoreError):
            store.apply(operator_label("BG", 0, 10))


@pytest.mark.parametrize("killed", ["while the new file was written", "between two renames"])
def test_a_salvage_that_was_killed_begins_again_or_is_ended(path: Path, killed: str) -> None:
    salvaged = path.with_suffix(".salvaged")
    if killed == "between two renames":
        path.rename(salvaged)
        path.with_name(FILE + "-wal").write_bytes(b"log of the damaged file")
    else:
        salvaged.write_bytes(path.read_bytes()[: 20 * PAGE_BYTES])
        overwrite(path, 2)
    with LabelledStore(path.parent, SMALL) as store:
        assert len(store.windows(SPEC)) == ALL
    assert not salvaged.exists()


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    with LabelledStore(path.parent, SMALL) as store:
        store._database.rows("PRAGMA user_version=3")
    with pytest.raises(StoreError, match="the store has version 3, not 2"):
        LabelledStore(path.parent, SMALL)
    assert sorted(place.name for place in path.parent.iterdir()) == [".lock", FILE]
