"""A file gives a record or one clear line of error, quickly and in bounded memory, however it is damaged."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import RecordError, open_waveforms, windows_of
from model.spec import load_spec
from tests.domains.powerline.waveforms.mutations import seeds, write_mutated

SPEC = load_spec("line")
PEAK_BYTES = 48 << 20
"""Files have kilobytes, so the filter's table is the largest allocation."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    return seeds(tmp_path_factory.mktemp("seeds"))


def refusal(path: Path) -> str | None:
    """Return the reason why a file is refused; None if it is read and cut into windows."""
    try:
        for line in open_waveforms(path).lines:
            assert all(run.windows.shape[1:] == (32, 6) for run in windows_of(line, SPEC))
    except RecordError as error:
        return str(error)
    return None


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_broken_file_is_a_record_or_one_clear_line(whole: list[dict[str, bytes]], seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write_mutated(rng, rng.choice(whole), Path(folder), "broken")
        tracemalloc.start()
        try:
            refused = refusal(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert refused is None or ("broken" in refused and "\n" not in refused)
    assert peak < PEAK_BYTES


@given(
    data=st.binary(max_size=400),
    suffix=st.sampled_from([".cfg", ".cff", ".csv", ".parquet", ".pqd", ".mat", ".out", ".inf"]),
)
@settings(max_examples=150)
def test_arbitrary_bytes_are_refused_or_read(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{suffix}"
        path.write_bytes(data)
        path.with_suffix(".dat").write_bytes(data)
        refused = refusal(path)
    assert refused is None or ("any" in refused and "\n" not in refused)
