"""Manifests and reports name the TensorFlow that is installed, whichever distribution it comes from."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from training import versions


def test_the_distribution_of_tensorflow_is_one_that_is_installed() -> None:
    name = versions.tensorflow_distribution()
    assert versions.version_of(name) == version(name)


def test_where_tensorflow_cpu_has_no_wheel_it_is_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    known = versions.version_of
    monkeypatch.setattr(
        versions, "version_of", lambda name: known("no-such-package" if name == "tensorflow-cpu" else name)
    )
    assert versions.tensorflow_distribution() == "tensorflow"
    assert versions.version_of("tensorflow-cpu") == "not installed"
