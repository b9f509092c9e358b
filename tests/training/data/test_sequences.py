"""Sequences are selected and joined as wholes, and kept in files that may be damaged or missing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from model.spec import load_spec
from stream.windowing import cut_windows
from training.data.sequences import Sequences, forget, kept, samples_of

SPEC = load_spec("line")


def drawn(count: int, seed: int = 1, steps: int = 5) -> Sequences:
    rng = np.random.default_rng(seed)
    return Sequences(
        rng.standard_normal((count, samples_of(steps, SPEC), 6)).astype(np.float32),
        rng.integers(0, 12, (count, steps)).astype(np.int32),
        rng.random((count, steps), dtype=np.float32),
        rng.integers(0, 99, count),
    )


def same(one: Sequences, other: Sequences) -> bool:
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Sequences))
    )


def never() -> Sequences:
    raise AssertionError("made again")


def test_a_sequence_covers_exactly_the_samples_of_its_windows() -> None:
    for steps in (1, 2, 128):
        data = np.zeros((1, samples_of(steps, SPEC), 6), np.float32)
        assert cut_windows(data, SPEC).shape == (1, steps, *SPEC.window_shape)
    assert samples_of(1, SPEC) == SPEC.samples


def test_sequences_are_taken_by_position_or_mask_and_joined_in_order() -> None:
    sequences = drawn(6)
    assert (len(sequences), sequences.steps) == (6, 5)
    first, rest = sequences.take(np.array([0, 1])), sequences.take(np.arange(6) > 1)
    assert same(Sequences.joined([first, rest]), sequences)
    assert same(sequences.take(np.array([3])), sequences.take(np.arange(6) == 3))
    empty = Sequences.empty(SPEC, 5)
    assert len(empty) == 0
    assert same(Sequences.joined([empty, sequences]), sequences)


def test_sequences_are_made_once_and_then_read_as_they_were_written(tmp_path: Path) -> None:
    path, made = tmp_path / "deep" / "sequences-1.npz", drawn(4)
    assert same(kept(path, lambda: made), made)
    assert same(kept(path, never), made)
    with pytest.raises(AssertionError, match="made again"):
        kept(path.with_name("sequences-2.npz"), never)
    assert [left.name for left in path.parent.iterdir()] == ["sequences-1.npz"]


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    path, made = tmp_path / "sequences-1.npz", drawn(4)
    kept(path, lambda: made)
    whole = path.read_bytes()
    fewer = tmp_path / "fewer.npz"
    np.savez(fewer, data=made.data)
    for broken in (b"", b"PK\x03\x04", b"no archive at all", whole[:-1000], fewer.read_bytes()):
        path.write_bytes(broken)
        assert same(kept(path, lambda: made), made)
        assert same(kept(path, never), made), "the damaged file was replaced"


def test_sequences_that_cannot_be_kept_are_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").write_text("a file where a folder should be")
    made = drawn(3)
    assert same(kept(tmp_path / "work" / "sequences-1.npz", lambda: made), made)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.data.sequences.np.savez", full)
    assert same(kept(tmp_path / "sequences-1.npz", lambda: made), made)
    assert [left.name for left in tmp_path.iterdir()] == ["work"], "no part of a file is left"


def test_kept_sequences_are_forgotten_with_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    kept(tmp_path / "sequences-1.npz", lambda: drawn(1))
    (tmp_path / ".sequences-2.npz.1-aa.partial").write_bytes(b"half")
    (tmp_path / "line-round-1.npz").write_bytes(b"checkpoint")
    forget(tmp_path)
    assert [left.name for left in tmp_path.iterdir()] == ["line-round-1.npz"]
    forget(tmp_path / "absent")
