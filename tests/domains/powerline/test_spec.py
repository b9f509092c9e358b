"""Specs of power lines: the shipped two, the meaning of their classes, and unchanged older files."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from domains.powerline.spec import PowerLineSpec, load_line_spec, power_line_spec
from model.artefact import Artefact, Manifest, shipped
from model.errors import SpecError
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec

SHIPPED = ("line", "instant")


def test_line_is_one_cycle_of_six_channels_with_twelve_phase_resolved_classes() -> None:
    spec = load_line_spec("line")
    assert spec.window_shape == (32, 6)
    assert (spec.hop, spec.samples_per_cycle, spec.sequence) == (8, 32, "time")
    assert " ".join(spec.class_names) == "none AG BG CG AB BC CA ABG BCG CAG ABC ABCG"
    assert all(len(fault.phases) > 0 for fault in spec.classes if fault.type != "none")


def test_instant_is_one_instant_read_as_six_scalars_with_the_reports_seven_classes() -> None:
    spec = load_line_spec("instant")
    assert spec.window_shape == (1, 6)
    assert (spec.hop, spec.samples_per_cycle, spec.sequence) == (1, 400, "channels")
    assert spec.class_names == ("None", "LG", "LL AB", "LL BC", "LLG", "LLL", "LLLG")


def test_currents_and_voltages_are_known_by_the_channels_names() -> None:
    spec = load_line_spec("line")
    assert (spec.currents, spec.voltages) == ((0, 1, 2), (3, 4, 5))
    assert spec.groups == {"current": (0, 1, 2), "voltage": (3, 4, 5)}


@pytest.mark.parametrize("name", SHIPPED)
def test_three_phase_faults_with_and_without_ground_are_equivalent(name: str) -> None:
    spec = load_spec(name)
    merged = np.asarray(spec.equivalent_indices())
    types = [fault.type for fault in spec.classes]
    for index, target in enumerate(merged):
        assert target == (types.index("lll") if types[index] == "lllg" else index)


# Canonical JSON, and the text that a store keeps, as of commit 10f72e6.
DIGESTS = {
    "line": "32dd1684b93943279d8cbb66af868ab7d8f3ff10703126b5d4094ef69937f7a7",
    "instant": "b825ea4b622c76a170d698bb14be0ddb893755a734efcbb3b037bc67454871c8",
}
TEXTS = {
    "line": "df863a15c2452831047dfe6da42eb2399fe823a7a8d74c2a753f84ccd33802e2",
    "instant": "aea467d78374743397aa408bf59c2d0e6bd06b49d0ae601d240f5d141c2fa7cc",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_digest_and_the_text_of_a_shipped_spec_are_those_from_before_domains(name: str) -> None:
    spec = load_spec(name)
    assert spec.digest == DIGESTS[name]
    assert hashlib.sha256(spec.model_dump_json().encode()).hexdigest() == TEXTS[name]
    assert {"domain", "equivalent", "rate_hz"}.isdisjoint(spec.model_dump())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_spec_without_domain_and_equivalents_is_the_same_spec(name: str) -> None:
    spec = load_spec(name)
    for again in (
        SignalSpec.model_validate(spec.model_dump()),
        SignalSpec.model_validate_json(spec.model_dump_json()),
        PowerLineSpec.model_validate_json(spec.model_dump_json()),
    ):
        assert type(again) is PowerLineSpec
        assert again == spec
        assert again.equivalent == spec.equivalent == (spec.class_names[-2:],)


def test_other_equivalents_are_kept_and_change_the_digest() -> None:
    spec = load_spec("line")
    other = SignalSpec.model_validate(spec.model_dump() | {"equivalent": [["AB", "ABG"]]})
    none = SignalSpec.model_validate(spec.model_dump() | {"equivalent": []})
    assert other.equivalent_indices()[other.class_index("ABG")] == other.class_index("AB")
    assert none.equivalent_indices() == tuple(range(len(none.classes)))
    assert SignalSpec.model_validate_json(other.model_dump_json()) == other
    assert SignalSpec.model_validate_json(none.model_dump_json()) == none
    assert len({spec.digest, other.digest, none.digest}) == 3


def test_the_shipped_models_id_is_kept_also_when_it_is_made_again() -> None:
    artefact = shipped("line")
    known = artefact.manifest
    assert artefact.model_id == "line-caede4c08846"
    again = Artefact.create(
        artefact.weights,
        **{name: getattr(known, name) for name in Manifest.model_fields if name in AS_GIVEN},
    )
    assert (again.model_id, again.manifest_json) == (artefact.model_id, artefact.manifest_json)
    assert again.to_bytes() == artefact.to_bytes()


AS_GIVEN = {"spec", "architecture", "normalisation", "temperature", "rejection", "metrics", "provenance"}


def test_the_id_of_a_model_with_plain_normalisation_is_that_from_before_domains() -> None:
    made = Artefact.create(
        {"a": np.arange(6, dtype=np.float32)},
        spec=load_spec("instant"),
        architecture="gru",
        normalisation=Normalisation.identity(6),
    )
    assert made.model_id == "instant-1d43b729ad72"


def test_the_rate_follows_from_the_cycles_and_cannot_be_given() -> None:
    spec = load_line_spec("instant")
    assert (spec.rate_hz, spec.period_samples) == (20_000.0, 400)
    with pytest.raises(ValueError, match="rate_hz follows from samples_per_cycle"):
        SignalSpec.model_validate(spec.model_dump() | {"rate_hz": 1000.0})


def test_a_class_of_another_type_says_itself_which_phases_and_ground_it_has() -> None:
    fields = load_spec("line").model_dump()
    fields["classes"] = [*fields["classes"], {"name": "odd", "type": "unknown", "phases": "AC", "ground": True}]
    spec = power_line_spec(SignalSpec.model_validate(fields))
    assert spec.fault_types == ("lg", "ll", "llg", "lll", "lllg", "unknown")
    assert (spec.classes[-1].phases, spec.classes[-1].ground) == ("AC", True)


def test_a_spec_of_another_domain_is_none_of_power_lines() -> None:
    other = load_spec("line").model_copy(update={"domain": "powerline"})
    assert power_line_spec(other) is other
    with pytest.raises(SpecError, match="belongs to the domain 'sonar'; choose a spec of power lines"):
        power_line_spec(SignalSpec.model_construct(name="deep", domain="sonar"))
