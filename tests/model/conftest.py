from __future__ import annotations

import pytest

from model.artefact import Artefact
from model.spec import load_spec
from tests.model.model_samples import artefact_of


@pytest.fixture(scope="session", params=["line", "instant"])
def artefact(request: pytest.FixtureRequest) -> Artefact:
    return artefact_of(load_spec(request.param))


@pytest.fixture(scope="session")
def line_artefact() -> Artefact:
    return artefact_of(load_spec("line"))
