"""Public API of Faultline, streaming fault detection for power lines. A name is imported when it is first used.

Example:
    >>> import faultline
    >>> for result in faultline.detect(["a.cfg", "b.cff"]):  # doctest: +SKIP
    ...     print(result.path, result.verdict, [episode.fault_class for episode in result.episodes], result.reason)
    a.cfg fault ['BG']
    b.cff not judged [] the record lasts 14.8 ms, too short for a window of 20 ms: give a longer record

``faultline.testing`` has an embedded broker, a fake classifier, and builders of windows and events for your tests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domains.powerline.data.scenario import scenario
    from domains.powerline.waveforms import ReadOptions, open_waveforms, windows_of
    from faultline.answers import FaultEpisode, FileResult, LineAnswer
    from faultline.comparison import compare
    from faultline.file_detection import detect, load_artefact
    from model.artefact import Artefact
    from model.domain import Domain
    from model.engine import Engine
    from model.errors import FaultlineError
    from model.spec import EpisodePolicy, SignalSpec, load_spec
    from stream.contract import FaultEvent, WindowMessage
    from stream.detection.decode import WindowRecord
    from stream.detection.offline import Detector
    from stream.kafka.reading.reader import StartAt
    from stream.recordings.recording import (
        RecordedMessage,
        Recording,
        RecordingWriter,
        open_recording,
        read_recording,
        repair,
    )
    from stream.recordings.sources import open_replay
    from stream.settings import Settings, load_settings
    from stream.subscribe import EventFeed, EventFilter, Received, fault_topics
    from stream.windowing import MSGPACK_HEADERS, SIMULATED_HEADERS, OutgoingWindows, cut_windows, window_messages
    from training.data.episodes import Scenario
    from training.data.windows import Windows
    from training.window_recipe import WindowRecipe

    __version__: str
    """Version of the installed package, or of the checkout if the package is not installed."""

_HOMES = {
    "domains.powerline.data.scenario": ("scenario",),
    "domains.powerline.waveforms": ("ReadOptions", "open_waveforms", "windows_of"),
    "faultline.comparison": ("compare",),
    "faultline.answers": ("FaultEpisode", "FileResult", "LineAnswer"),
    "faultline.file_detection": ("detect", "load_artefact"),
    "model.artefact": ("Artefact",),
    "model.domain": ("Domain",),
    "model.engine": ("Engine",),
    "model.errors": ("FaultlineError",),
    "model.spec": ("EpisodePolicy", "SignalSpec", "load_spec"),
    "stream.contract": ("FaultEvent", "WindowMessage"),
    "stream.detection.decode": ("WindowRecord",),
    "stream.detection.offline": ("Detector",),
    "stream.kafka.reading.reader": ("StartAt",),
    "stream.recordings.recording": (
        "RecordedMessage",
        "Recording",
        "RecordingWriter",
        "open_recording",
        "read_recording",
        "repair",
    ),
    "stream.recordings.sources": ("open_replay",),
    "stream.settings": ("Settings", "load_settings"),
    "stream.subscribe": ("EventFeed", "EventFilter", "Received", "fault_topics"),
    "stream.windowing": ("MSGPACK_HEADERS", "SIMULATED_HEADERS", "OutgoingWindows", "cut_windows", "window_messages"),
    "training.data.episodes": ("Scenario",),
    "training.data.windows": ("Windows",),
    "training.window_recipe": ("WindowRecipe",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MSGPACK_HEADERS",
    "SIMULATED_HEADERS",
    "Artefact",
    "Detector",
    "Domain",
    "Engine",
    "EpisodePolicy",
    "EventFeed",
    "EventFilter",
    "FaultEpisode",
    "FaultEvent",
    "FaultlineError",
    "FileResult",
    "LineAnswer",
    "OutgoingWindows",
    "ReadOptions",
    "Received",
    "RecordedMessage",
    "Recording",
    "RecordingWriter",
    "Scenario",
    "Settings",
    "SignalSpec",
    "StartAt",
    "WindowMessage",
    "WindowRecipe",
    "WindowRecord",
    "Windows",
    "__version__",
    "compare",
    "cut_windows",
    "detect",
    "fault_topics",
    "load_artefact",
    "load_settings",
    "load_spec",
    "open_recording",
    "open_replay",
    "open_waveforms",
    "read_recording",
    "repair",
    "scenario",
    "window_messages",
    "windows_of",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> object:
    from importlib import metadata

    try:
        return metadata.version("faultline")
    except metadata.PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return tomllib.loads(project.read_text("utf-8"))["project"]["version"]
