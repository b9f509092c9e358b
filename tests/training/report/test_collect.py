"""A champion that this version cannot load does not keep a candidate from being judged."""

from __future__ import annotations

from model.artefact import Artefact, shipped
from tests.training.report.report_samples import report_data
from training.gate.gate import GateScores, GateThresholds, gate
from training.report.collect import _loaded
from training.report.render import draw, markdown


def test_without_a_champion_there_is_no_engine_and_no_note() -> None:
    assert _loaded(None) == (None, None)


def test_a_champion_of_an_earlier_version_is_not_compared_and_the_note_says_what_to_do() -> None:
    line = shipped("line")
    earlier = Artefact.create(
        dict(line.weights), spec=line.manifest.spec, architecture="gru", normalisation=line.manifest.normalisation
    )
    engine, note = _loaded(earlier)
    assert engine is None
    assert note is not None
    assert note.startswith(f"The champion {earlier.model_id} cannot be compared, so the candidate is judged alone")
    assert "train it again with `faultline train`, or use the shipped model" in note

    verdict = gate(GateScores(holdout=0.999, ece=0.01), None, GateThresholds(), note=note)
    assert verdict.passed
    assert verdict.note == note
    data = report_data().model_copy(update={"verdict": verdict})
    assert f"criteria are met. {note}" in markdown(data, draw(data))
