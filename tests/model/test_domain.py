"""Domains: another kind of signal, installed beside power lines, is loaded by its spec and stored with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.artefact import Artefact, shipped
from model.domain import Domain, domain_of, installed_domains, load_domain
from model.entry_points import load_installed
from model.errors import ArtefactError, ShapeArtefactError, SpecError
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec, shipped_specs
from tests.model.installed_domain import DOMAIN, installed

WINDOWS = np.linspace(-1, 1, 3 * 100 * 2, dtype=np.float32).reshape(3, 100, 2)


@pytest.fixture
def motor(tmp_path: Path) -> Iterator[SignalSpec]:
    with installed(tmp_path):
        yield load_spec("motor")


def test_an_installed_domain_ships_its_specs_beside_ours(motor: SignalSpec) -> None:
    assert installed_domains() == (DOMAIN, "powerline")
    assert shipped_specs() == ("instant", "line", "motor")
    assert domain_of(motor) is load_domain(DOMAIN)
    assert type(motor) is SignalSpec


def test_a_spec_without_cycles_has_a_rate_types_and_equivalents_of_its_own(motor: SignalSpec) -> None:
    assert (motor.rate_hz, motor.period_samples, motor.window_shape) == (1000.0, None, (100, 2))
    assert motor.fault_types == ("inner-ring", "outer-ring", "unknown")
    assert motor.equivalent_indices() == (0, 1, 1, 3)
    assert motor.groups == {"signal": (0, 1)}


def test_a_dumped_spec_names_its_domain_and_is_read_back(motor: SignalSpec) -> None:
    dumped = motor.model_dump()
    assert (dumped["domain"], dumped["rate_hz"]) == (DOMAIN, 1000.0)
    assert dumped["classes"][1] == {"name": "inner ring", "type": "inner-ring"}
    assert SignalSpec.model_validate_json(motor.model_dump_json()) == motor
    renamed = SignalSpec.model_validate(dumped | {"name": "engine"})
    assert (renamed.domain, renamed.digest != motor.digest) == (DOMAIN, True)


def test_power_lines_words_are_none_of_another_domain(motor: SignalSpec) -> None:
    ground = {"name": "AG", "type": "lg", "ground": True}
    for change in ({"nominal_hz": 50.0}, {"classes": [*motor.model_dump()["classes"], ground]}):
        with pytest.raises(ValueError, match="Extra inputs are not permitted"):
            SignalSpec.model_validate(motor.model_dump() | change)


def made(motor: SignalSpec, **changes: object) -> Artefact:
    fields = {"spec": motor, "architecture": "gru", "normalisation": Normalisation.identity(2), **changes}
    return Artefact.create({"a": np.ones(3, np.float32)}, **fields)  # type: ignore[arg-type]


def test_an_artefact_of_another_domain_keeps_spec_bounds_and_id(motor: SignalSpec) -> None:
    rejection_model = domain_of(motor).rejection_model
    assert rejection_model is not None
    artefact = made(motor, rejection=rejection_model.model_validate({"most": 0.5}))
    again = Artefact.from_bytes(artefact.to_bytes())
    assert again.model_id == artefact.model_id
    assert again.model_id.startswith("motor-")
    assert again.manifest == artefact.manifest
    assert again.manifest.rejection is not None
    assert again.manifest.rejection.is_ood(WINDOWS).tolist() == [True, False, True]
    assert "phasors" not in artefact.manifest_json


def test_what_a_domain_does_not_know_is_no_artefact_of_it(motor: SignalSpec) -> None:
    with pytest.raises(ArtefactError, match="valid dictionary or instance of Loudest"):
        made(motor, rejection=shipped("line").manifest.rejection)
    with pytest.raises(ArtefactError, match="Extra inputs are not permitted"):
        made(motor, normalisation=shipped("line").manifest.normalisation)


def test_a_feature_layer_that_the_domain_does_not_have_is_a_shape_error(motor: SignalSpec) -> None:
    from model.architectures import build

    class Asking(Normalisation):
        @property
        def feature_layer(self) -> str | None:
            return "spectrum"

    with pytest.raises(ShapeArtefactError, match="domain 'bearings' has no feature layer 'spectrum'"):
        build("gru", motor, Asking.identity(2))


def test_the_defaults_of_a_domain_tell_nothing() -> None:
    domain, spec = Domain(), load_spec("line")
    assert domain.signal.inception_sample(WINDOWS[0], spec) == 0
    assert domain.signal.quality_flags(WINDOWS[0], spec) == set()
    assert domain.signal.inception_samples(WINDOWS, spec).tolist() == [0, 0, 0]
    assert domain.signal.quality_flags_of(WINDOWS, spec) == [set(), set(), set()]
    assert domain.signal.measure(WINDOWS, spec).shape == (3, len(domain.signal.features))
    assert [len(each) for each in (domain.specs(), domain.artefacts(), domain.layers(), domain.sources(spec))] == [
        0
    ] * 4
    assert domain.event_model() is None
    for asked in (lambda: domain.recipe(spec), lambda: domain.fan_out(None, 2, spec)):
        with pytest.raises(SpecError, match="domain ''"):
            asked()


def test_a_model_whose_domain_is_not_installed_is_refused_with_its_name(tmp_path: Path) -> None:
    with installed(tmp_path):
        data = made(load_spec("motor")).to_bytes()
    with pytest.raises(ArtefactError, match="no domain 'bearings' is installed; there are powerline"):
        Artefact.from_bytes(data)


def test_a_domain_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with installed(tmp_path):
        (tmp_path / "vibrating_bearings.py").write_text("import no_such_library\n")
        load_installed.cache_clear()
        with pytest.raises(
            SpecError, match=r"'bearings' is installed \(vibrating_bearings:BEARINGS\) but cannot be loaded"
        ):
            load_domain(DOMAIN)


def test_a_spec_that_ships_twice_is_asked_for_by_its_path(tmp_path: Path) -> None:
    with installed(tmp_path):
        module = tmp_path / "vibrating_bearings.py"
        module.write_text(module.read_text().replace('"motor":', '"line":'))
        load_installed.cache_clear()
        with pytest.raises(
            SpecError, match="several domains ship a signal spec 'line': bearings, powerline; give the path"
        ):
            load_spec("line")
