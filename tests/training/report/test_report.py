"""A report contains its data and nothing else, and its data are measured."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artefact import Artefact, shipped
from model.spec import load_spec
from tests.training.report.report_samples import CLASSES, SPEC, predictions, report_data, robustness
from training.errors import TrainingError
from training.evaluation.documents import LeakageCheck
from training.evaluation.evaluation import Predictions
from training.report.collect import ReportOptions, collect
from training.report.data import ReportData
from training.report.render import draw, html, markdown, write, write_compact
from training.report.schema import PATH, schema_text
from training.report.scores import classify_scores, compare

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE_SECTIONS = (
    "Model Description", "Model Architecture", "Layer Distribution", "Model Complexity", "Training Details",
    "Final Training Metrics", "Learning Curves", "Architecture-Specific Notes", "Recommendations",
)  # fmt: skip
FURTHER_SECTIONS = (
    "Gate", "Identity", "Difference to the Champion", "Data and Leakage", "Scores and Classes", "Calibration",
    "Conditions", "Worst Slices", "Event-Level Metrics", "Rejection", "Latency by Batch Size", "Gallery of Failures",
    "Intended Use and Limits", "Rollback",
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> ReportData:
    return report_data()


def test_the_committed_schema_is_that_of_the_data() -> None:
    assert (DOCS / PATH).read_text() == schema_text(), "run `python -m training.report.schema docs/`"


def test_the_document_survives_being_written_and_read(data: ReportData, tmp_path: Path) -> None:
    document, _, _ = write(data, tmp_path)
    assert ReportData.model_validate_json(document.read_text()) == data


def test_the_compact_form_is_the_page_and_its_figures_in_the_same_bytes_each_time(
    data: ReportData, tmp_path: Path
) -> None:
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert write_compact(data, folder) == folder / "report.md"
    first, second = (
        {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}
        for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second
    assert set(first) == {"report.md", *(f"figures/{name}.svg" for name in draw(data))}
    linked = re.findall(r"\]\((figures/[^)]+)\)", first["report.md"].decode())
    assert set(linked) == {name for name in first if name.startswith("figures/")}


def test_the_whole_report_holds_the_compact_form(data: ReportData, tmp_path: Path) -> None:
    write(data, tmp_path / "whole")
    write_compact(data, tmp_path / "compact")
    for file in (tmp_path / "compact").rglob("*.*"):
        assert (tmp_path / "whole" / file.relative_to(tmp_path / "compact")).read_bytes() == file.read_bytes()


def test_a_waveform_read_from_the_document_parts_currents_and_voltages(data: ReportData, tmp_path: Path) -> None:
    failure = data.failures[0]
    line = load_spec("line")
    drawn = failure.model_copy(update={"channels": line.channels, "samples": (failure.samples[0],) * 6})
    identity = data.identity.model_copy(update={"spec": "line"})
    kept = data.model_copy(update={"failures": (drawn,), "identity": identity})
    assert kept.failures[0].quantities == {}
    write_compact(kept, tmp_path)
    svg = (tmp_path / "figures" / "failure-1.svg").read_text()
    assert ">current</text>" in svg
    assert ">voltage</text>" in svg
    assert ">signal</text>" not in svg


def test_the_sections_are_those_of_the_reference_report_in_its_order_then_ours(data: ReportData) -> None:
    found = re.findall(r"^##+ (?!\d)(.+)$", markdown(data, draw(data)), re.M)
    assert tuple(found) == REFERENCE_SECTIONS + FURTHER_SECTIONS


def test_figures_have_the_form_of_the_reference_report(data: ReportData) -> None:
    text = markdown(data, draw(data))
    for line in (
        "# GRU Model Training Report",
        "- **Total Parameters**: 14,604",
        "- **Memory Usage**: 57.05 KB",
        "- **Training Time**: 46.25 seconds",
        "- **Prediction Speed**: 0.1000 ms per sample",
        "- **Epochs Trained**: 3",
        "- **Training Accuracy**: 0.9000",
        "- **Validation Loss**: 0.4000",
        "│ gru (GRU)                            │ (None, 64)                  │          13,824 │",
    ):
        assert line in text.splitlines()
    assert "highest validation accuracy of 0.8500 at epoch 2" in text


def test_every_sentence_of_ours_names_a_number(data: ReportData) -> None:
    for sentences in (
        data.architecture_notes,
        data.learning_notes,
        data.recommendations,
        data.intended_use,
        data.limits,
    ):
        assert sentences
        assert all(re.search(r"\d", sentence) for sentence in sentences)


def test_recommendations_follow_the_measurements(data: ReportData) -> None:
    sentences = "\n".join(data.recommendations)
    assert "Do not deploy: 2 of 5 criteria" in sentences
    assert "Train with more of condition 'lost channel': at level 5" in sentences
    assert "motor start: it caused 2 of the 3 false alarms" in sentences
    assert "Add training data of fault resistance above 10 Ω: 70.00%" in sentences
    assert "training accuracy is 0.0600 above validation" in sentences


def test_what_was_not_measured_is_not_claimed(data: ReportData) -> None:
    bare = data.model_copy(
        update={
            "events": None,
            "conditions": None,
            "rejection": None,
            "champion": None,
            "failures": (),
            "learning_notes": (),
            "training": data.training.model_copy(update={"history": None, "seconds": None, "epochs": None}),
        }
    )
    text = markdown(bare, draw(bare))
    assert "- **Training Time**: not in the artefact" in text
    assert "learning.svg" not in text
    assert "Measured under 0 conditions." in text
    assert tuple(re.findall(r"^##+ (?!\d)(.+)$", text, re.M)) == REFERENCE_SECTIONS + FURTHER_SECTIONS


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.drawings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawings += tag == "svg"
        self.outside += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(data: ReportData) -> None:
    plots = draw(data)
    text = html(data, plots)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.drawings == len(plots) == 4
    assert [link for link in page.outside if not link.startswith("#")] == []
    assert "a &lt;processor&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_drawings_have_as_many_curves_as_channels_and_take_the_page_colour(data: ReportData) -> None:
    drawing = draw(data)["failure-1"]
    assert "currentColor" in drawing
    assert all(f">{channel}<" in drawing for channel in SPEC.channels)


def test_a_paired_difference_of_equal_models_is_zero_with_certainty() -> None:
    rows = compare(predictions(1), predictions(1), "same", SPEC).rows
    assert all(row.difference == 0 for row in rows)
    assert [(row.low, row.high) for row in rows if row.low is not None] == [(0, 0), (0, 0)]


def test_a_paired_interval_tells_a_better_model_from_a_worse_one() -> None:
    better = compare(predictions(1, 0.99), predictions(2, 0.9), "worse", SPEC).rows[0]
    assert better.low is not None
    assert 0 < better.low < better.difference < (better.high or 0)


def test_a_paired_interval_is_narrower_than_the_scores_own() -> None:
    scores = classify_scores(predictions(1, 0.9), SPEC).scores
    candidate = predictions(1, 0.9)
    predicted = candidate.probabilities.copy()
    predicted[0] = np.eye(CLASSES, dtype=np.float32)[0]
    row = compare(
        candidate, Predictions(candidate.labels, predicted, candidate.episode, ""), "nearly the same", SPEC
    ).rows[0]
    assert (row.high or 0) - (row.low or 0) < (scores.merged_high - scores.merged_low) / 5


def test_scores_of_the_merged_classes_forgive_confusing_the_three_phase_faults() -> None:
    abc, abcg = SPEC.class_index("ABC"), SPEC.class_index("ABCG")
    probabilities = np.eye(CLASSES, dtype=np.float32)[[0, abcg, abc]]
    scores = classify_scores(Predictions(np.array([0, abc, abcg]), probabilities, np.arange(3), ""), SPEC).scores
    assert scores.merged_macro_f1 == scores.merged_accuracy == 1
    assert scores.accuracy == pytest.approx(1 / 3, abs=1e-4)


def test_a_leak_is_named_as_one(data: ReportData) -> None:
    leak = LeakageCheck(question="windows seen in training", found=3, of=1200)
    leaky = data.model_copy(update={"data": data.data.model_copy(update={"leakage": (leak,)})})
    assert "| windows seen in training | 3 | 1,200 | **leak** |" in markdown(leaky, {})
    assert "| windows seen in training | 0 | 1,200 | clean |" in markdown(data, {})


def test_a_robustness_result_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "line.safetensors"
    shipped("line").save(path)
    with pytest.raises(TrainingError, match="--robustness is of model line-0123456789ab, not of line-"):
        collect(ReportOptions(path, robustness=robustness()), step=lambda _: None)


def test_a_spec_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    line = shipped("line").manifest
    path = tmp_path / "other.safetensors"
    renamed = line.spec.model_copy(update={"name": "feeder"})
    artefact = Artefact.create(
        dict(shipped("line").weights), spec=renamed, architecture="gru", normalisation=line.normalisation
    )
    artefact.save(path)
    with pytest.raises(TrainingError, match="no evaluation for spec 'feeder'"):
        collect(ReportOptions(path), step=lambda _: None)


@pytest.mark.slow
def test_the_shipped_model_is_reported_beside_itself_with_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "line.safetensors"
    shipped("line").save(path)
    steps: list[str] = []
    options = ReportOptions(path, champion=path, lines=2, episodes=0)
    result = collect(options, step=steps.append)
    assert result.champion is not None
    assert result.champion.disagreeing_windows == 0
    assert result.champion.rows[0].difference == 0
    assert all(check.found == 0 for check in result.data.leakage)
    assert result.events is not None
    assert result.events.injected == 22
    assert sum(map(sum, result.classification.confusion)) == result.classification.scores.windows
    assert result.rejection is not None
    assert result.rejection.good_rejected <= 0.005
    document, page, site = write(result, tmp_path / "report")
    schema: dict[str, Any] = json.loads(schema_text())
    assert set(json.loads(document.read_text())) == set(schema["properties"])
    assert result.identity.model_id in page.read_text()
    assert result.identity.model_id in site.read_text()


@pytest.mark.slow
def test_an_instant_model_is_reported_with_the_leak_of_its_split(tmp_path: Path, data_dir: Path) -> None:
    from domains.powerline.recipes.instant import InstantOptions, train_instant

    source = data_dir / "electrical-faults" / "classData.csv"
    path = tmp_path / "instant.safetensors"
    train_instant(InstantOptions(source, epochs=1, show_progress=False)).save(path)
    result = collect(ReportOptions(path, data=source), step=lambda _: None)
    assert result.network.parameters == 15_175
    assert [layer.parameters for layer in result.network.layers] == [12_864, 0, 2_080, 231]
    twins = {check.question: check.found for check in result.data.leakage}
    assert twins["test rows that are training rows"] == 0
    assert twins["test rows whose neighbour in time is a training row"] > 1000
    assert result.elsewhere is not None
    assert result.elsewhere.split == "blocks"
    assert result.gate_scores.holdout == result.elsewhere.merged_macro_f1
    assert result.training.history is not None
    blocks = tmp_path / "blocks.safetensors"
    manifest = Artefact.load(path).manifest
    Artefact.create(
        dict(Artefact.load(path).weights),
        spec=manifest.spec,
        architecture="gru",
        normalisation=manifest.normalisation,
        metrics={"split": "blocks"},
    ).save(blocks)
    with pytest.raises(TrainingError, match="the same --split and --seed"):
        collect(ReportOptions(path, champion=blocks, data=source), step=lambda _: None)
    with pytest.raises(TrainingError, match="needs --data"):
        collect(ReportOptions(path), step=lambda _: None)
