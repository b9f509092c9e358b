"""``faultline models`` promotes, rolls back and compares models on Apache Kafka."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchmarks.storms.swaps import variants
from faultline.cli.models.registry import app, differences, flat
from model.artefact import Artefact, shipped
from model.artefact.signing import new_keys
from model.errors import ArtefactError, FaultlineError
from model.spec import load_spec
from stream.errors import ModelsError, SettingsError
from tests.conftest import Kafka
from tests.stream.model_samples import small_artefact

_numbers = itertools.count()


class Command:
    """``faultline models`` on a topic of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.environment = {"FAULTLINE_BROKER": bootstrap, "FAULTLINE_TOPIC_MODELS": topic}

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner(env=self.environment).invoke(app, [str(argument) for argument in arguments])

    def __call__(self, *arguments: str | Path) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def listed(self) -> list[tuple[str, str]]:
        return [(row["role"], row["model_id"]) for row in json.loads(self("list", "--json"))]

    def fails(self, *arguments: str | Path) -> FaultlineError:
        error = self.run(*arguments).exception
        assert isinstance(error, FaultlineError), error
        assert len(str(error).splitlines()) == 1
        return error


@pytest.fixture
def models(kafka: Kafka) -> Command:
    topic = f"models-command-{os.getpid()}-{next(_numbers)}"
    kafka.create_topic(topic, 1, {"cleanup.policy": "compact"})
    return Command(kafka.bootstrap, topic)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Return ids and files of three models of the same shape as the shipped one."""
    folder = tmp_path_factory.mktemp("models")
    made = []
    for number, artefact in enumerate(variants(3)):
        artefact.save(folder / f"{number}.safetensors")
        made.append((artefact.model_id, folder / f"{number}.safetensors"))
    return made


def test_a_rollback_goes_to_the_champion_before_and_a_second_one_returns(
    models: Command, files: list[tuple[str, Path]]
) -> None:
    (first, one), (second, two), (third, three) = files
    assert models("promote", one) == f"champion is now {first}, was the artefact that workers start with\n"
    assert models("promote", two, "--reason", "more labels") == f"champion is now {second}, was {first}\n"
    models("promote", three)
    assert models("rollback") == f"champion is now {second}, was {third}\n"
    assert models.listed() == [("champion", second), ("archive", second), ("archive", third), ("archive", first)]
    assert models("rollback") == f"champion is now {third}, was {second}\n"
    assert models("rollback", "--to", first) == f"champion is now {first}, was {third}\n"
    assert models("rollback", "--to", "own") == f"champion is now the artefact that workers start with, was {first}\n"
    assert models.listed() == [("archive", first), ("archive", third), ("archive", second)]
    assert models("rollback", "--to", third) == f"champion is now {third}, was the artefact that workers start with\n"


def test_the_first_promoted_model_rolls_back_to_what_the_workers_came_with(
    models: Command, files: list[tuple[str, Path]]
) -> None:
    assert "was promoted" in str(models.fails("rollback"))
    models("promote", files[0][1])
    assert models("rollback").startswith("champion is now the artefact that workers start with")


def test_the_list_says_who_when_and_why(models: Command, files: list[tuple[str, Path]]) -> None:
    assert "no model on the topic" in models("list")
    models("promote", files[0][1], "--by", "ana", "--reason", "[bold]autumn[/bold]")
    text = models("list")
    assert files[0][0] in text
    assert "ana" in text
    assert "[bold]autumn[/bold]" in text, "what stands on the topic is no markup"
    (row, _) = json.loads(models("list", "--json"))
    architecture = shipped("line").manifest.architecture
    known = (row["promoted_by"], row["architecture"], row["signature"], row["refused"])
    assert known == ("ana", architecture, "none", None)


def test_show_tells_what_is_known_of_a_model_by_id_role_or_file(
    models: Command, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    shipped("line").save(tmp_path / "shipped.safetensors")
    models("promote", tmp_path / "shipped.safetensors")
    model_id = shipped("line").model_id
    for name in ("champion", model_id, str(tmp_path / "shipped.safetensors")):
        assert f"model_id: {model_id}" in models("show", name)
    whole = json.loads(models("show", "--json"))
    assert whole["metrics"] == shipped("line").manifest.metrics
    assert whole["spec"]["name"] == "line"
    assert "faultline models list" in str(models.fails("show", "line-000000000000"))


def test_diff_shows_where_two_models_disagree(models: Command, files: list[tuple[str, Path]]) -> None:
    models("promote", files[0][1])
    rows = json.loads(models("diff", "champion", files[1][1], "--json"))
    names = {row["name"]: row for row in rows}
    assert names["provenance.variant"] | {"name": ""} == {"name": "", "first": 0, "second": 1, "change": 1}
    assert names["temperature"]["change"] < 0
    assert "architecture" not in names
    assert "architecture" in models("diff", "champion", files[1][1], "--all")


def test_a_shadow_is_set_and_ended_beside_the_champion(models: Command, files: list[tuple[str, Path]]) -> None:
    models("promote", files[0][1])
    assert models("shadow", files[1][1]) == f"shadow is now {files[1][0]}\n"
    assert models.listed()[:2] == [("champion", files[0][0]), ("shadow", files[1][0])]
    assert models("shadow", "--off") == "the shadow is off\n"
    assert ("shadow", files[1][0]) not in models.listed()
    for wrong in (("shadow",), ("shadow", files[1][1], "--off")):
        assert isinstance(models.fails(*wrong), ModelsError)


def test_what_workers_would_refuse_is_not_promoted(
    models: Command, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(files[0][1].read_bytes()[:-100])
    assert isinstance(models.fails("promote", damaged), ArtefactError)
    assert "nowhere" in str(models.fails("promote", tmp_path / "nowhere.safetensors"))
    small_artefact().save(tmp_path / "shape.safetensors")
    assert "needs tensor" in str(models.fails("promote", tmp_path / "shape.safetensors"))
    spec = load_spec("line")
    small_artefact(spec=spec.model_copy(update={"hop": 4})).save(tmp_path / "version.safetensors")
    assert "another version of spec 'line'" in str(models.fails("promote", tmp_path / "version.safetensors"))
    small_artefact(spec=spec.model_copy(update={"name": "own"})).save(tmp_path / "own.safetensors")
    assert "FAULTLINE_SPEC" in str(models.fails("promote", tmp_path / "own.safetensors"))
    assert models.listed() == []


def test_with_keys_every_promotion_is_signed_and_a_missing_key_is_reported(
    models: Command, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    models("promote", files[0][1])
    private, public = new_keys(tmp_path)
    models.environment["FAULTLINE_MODEL_PUBLIC_KEYS"] = str(public)
    assert isinstance(models.fails("promote", files[1][1]), SettingsError)
    models.environment["FAULTLINE_MODEL_PRIVATE_KEY"] = str(private)
    models("promote", files[1][1])
    refused = {row["model_id"]: row["refused"] for row in json.loads(models("list", "--json"))}
    assert refused[files[1][0]] is None
    assert refused[files[0][0]].startswith("unsigned")
    assert "not signed" in str(models.fails("rollback")), "what was promoted unsigned cannot be gone back to"


def _example(value: Any) -> Artefact:
    return small_artefact().create(
        small_artefact().weights,
        spec=load_spec("line"),
        architecture="gru",
        normalisation=small_artefact().manifest.normalisation,
        metrics=value,
    )


def test_differences_are_of_names_and_numbers() -> None:
    first = _example({"f1": 0.5, "of": {"AG": 1, "flag": True}, "history": {"loss": [1]}, "gone": "x"})
    second = _example({"f1": 0.75, "of": {"AG": 1, "flag": False}, "history": {"loss": [2]}, "new": None})
    rows = {row.name: (row.first, row.second, row.change) for row in differences(first, second)}
    assert rows.pop("model_id")[2] is None
    assert rows == {
        "metrics.f1": (0.5, 0.75, 0.25),
        "metrics.of.flag": (True, False, None),
        "metrics.gone": ("x", None, None),
    }
    assert "metrics.history.loss" not in flat(first)
