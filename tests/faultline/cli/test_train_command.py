"""``faultline train`` refuses an impossible request before it spends time on it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from faultline.cli.training.train import Architecture, train
from model.architectures import ARCHITECTURES
from model.artefact import shipped
from model.errors import FaultlineError
from training import recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spec": "feeder"}, "no recipe for spec 'feeder'; choose line or instant"),
        ({"spec": "instant"}, "needs --data"),
        ({"spec": "instant", "data": Path("no-such-file.csv")}, "no-such-file.csv: cannot be read"),
        ({"data": Path("no-such-set.parquet"), "episodes": None}, "no-such-set.parquet: cannot be read as Parquet"),
        ({"data": Path("set.parquet")}, "--data uses all episodes of the data set; leave out --episodes"),
        ({"out": Path("no-such-folder/line.safetensors")}, "the folder no-such-folder does not exist"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(options: dict[str, object], message: str) -> None:
    defaults = {"spec": "line", "out": Path("x.safetensors"), "seed": 1, "epochs": 1, "episodes": 100, "quiet": True}
    with pytest.raises(FaultlineError, match=message) as raised:
        train(**{**defaults, **options})  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_the_artefact_is_named_after_its_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe, "named_recipe", lambda spec: SimpleNamespace(train=lambda options: shipped("line")))
    train(spec="feeder", epochs=1, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["feeder.safetensors"]


def test_the_command_offers_every_architecture_there_is() -> None:
    assert tuple(Architecture) == ARCHITECTURES
