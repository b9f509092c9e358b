"""Fixtures of the tests that classify waveform files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from domains.powerline.waveforms import Record, open_waveforms
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

if TYPE_CHECKING:
    from model.engine import Engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    # TensorFlow is loaded only where a test needs it.
    from faultline.file_detection import BUCKETS, load_artefact
    from model.engine import Engine

    with Engine(load_artefact(None), buckets=BUCKETS) as made:
        yield made


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    shape = Shape()
    return open_waveforms(write_record(tmp_path_factory.mktemp("any"), shape, load_waves(shape)).path)
