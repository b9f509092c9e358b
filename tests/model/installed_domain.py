"""A domain of another kind of signal, installed in a folder as a distribution would be: two vibration channels."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.entry_points import GROUP, load_installed
from stream.detection.events import event_models

DOMAIN = "bearings"
REPOSITORY = Path(__file__).resolve().parents[2]
_MODULE = """
from pathlib import Path

import numpy as np
from pydantic import Field

from model.domain import Domain, Signal, SignalFeature
from model.rejection import Rejection
from model.spec import FaultClass, SignalSpec


class Loudest(Rejection):
    most: float = Field(gt=0)

    @property
    def positions(self):
        return (0, 1)

    def is_ood(self, windows):
        return np.abs(windows).max(axis=(1, 2)) > self.most


class Vibration(Signal):
    features = (SignalFeature("level", 0.5),)

    def inception_sample(self, window, spec):
        return int(np.abs(window).max(axis=1).argmax())

    def quality_flags(self, window, spec):
        return {"saturation"}

    def measure(self, windows, spec):
        return np.abs(windows).mean(axis=(1, 2))[:, None]


class Bearings(Domain):
    name = "bearings"
    title = "bearings"
    rejection_model = Loudest
    signal = Vibration()

    def specs(self):
        return {"motor": Path(__file__).with_name("motor.toml")}

    def event_model(self):
        from stream.contract import FaultEvent

        class BearingEvent(FaultEvent):
            peak_sample: int

            @classmethod
            def own_fields(cls, spec, fault_class, probabilities, duration_s, rate_hz):
                return {"peak_sample": 7}

        self.event_model = lambda: BearingEvent
        return BearingEvent


BEARINGS = Bearings()
"""
_SPEC = """
name = "motor"
domain = "bearings"
channels = ["x", "y"]
samples = 100
hop = 50
rate_hz = 1000.0
classes = [
  { name = "smooth", type = "none" },
  { name = "inner ring", type = "inner-ring" },
  { name = "outer ring", type = "outer-ring" },
  { name = "odd", type = "unknown" },
]
equivalent = [["inner ring", "outer ring"]]
"""


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Install the domain below ``folder``, for as long as the context lasts."""
    (folder / "vibrating_bearings.py").write_text(_MODULE)
    (folder / "motor.toml").write_text(_SPEC)
    try:
        with installed_distribution(folder, f"{DOMAIN} = vibrating_bearings:BEARINGS"):
            yield
    finally:
        sys.modules.pop("vibrating_bearings", None)


@contextmanager
def installed_project(folder: Path, project: Path) -> Iterator[None]:
    """Install the package below ``project`` as ``pip install -e`` does, with the domains of its pyproject.toml.

    Args:
        folder: folder for the distribution's metadata.
        project: folder with the pyproject.toml and the package.
    """
    declared = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"][GROUP]
    entry_points = "\n".join(f"{name} = {place}" for name, place in declared.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project)
        patch.setenv("PYTHONPATH", str(project), prepend=os.pathsep)
        with installed_distribution(folder, entry_points):
            yield


@contextmanager
def installed_distribution(folder: Path, entry_points: str) -> Iterator[None]:
    """Install a distribution with domains below ``folder``, for this process and those that it starts meanwhile.

    Args:
        folder: folder of the distribution; modules of the domains are found there and in the repository.
        entry_points: one line per domain, ``name = module:object``.
    """
    about = folder / "other_domain-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-domain\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for path in (REPOSITORY, folder):
            patch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)
        _forget()
        try:
            yield
        finally:
            patch.undo()
            _forget()


def _forget() -> None:
    """Clear the cached list of installed domains, which does not change within a Faultline process."""
    load_installed.cache_clear()
    event_models.cache_clear()
