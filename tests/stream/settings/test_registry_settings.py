"""Settings of the topic models: keys are files that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import SettingsError
from stream.settings import load_settings


@pytest.fixture(autouse=True)
def _away_from_env_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_public_keys_are_files_separated_by_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("old.pub", "new.pub"):
        (tmp_path / name).write_text("key")
    monkeypatch.setenv("FAULTLINE_MODEL_PUBLIC_KEYS", "old.pub, new.pub,")
    assert load_settings().model_public_key_files == (Path("old.pub"), Path("new.pub"))


@pytest.mark.parametrize("empty", ["", " ", ","])
def test_no_public_key_is_no_key(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.setenv("FAULTLINE_MODEL_PUBLIC_KEYS", empty)
    settings = load_settings()
    assert (settings.model_public_keys, settings.model_public_key_files) == (None, ())


@pytest.mark.parametrize("name", ["FAULTLINE_MODEL_PUBLIC_KEYS", "FAULTLINE_MODEL_PRIVATE_KEY"])
def test_a_key_that_is_not_there_is_named_with_what_makes_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "nowhere.key")
    complaint = f"{name}: 'nowhere.key' is not a file: create keys with faultline keys new"
    with pytest.raises(SettingsError, match=complaint):
        load_settings()
