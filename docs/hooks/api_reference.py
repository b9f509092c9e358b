"""Generate the reference of the public Python API: mkdocstrings directives for every public name."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File, Files

PAGE = "reference/api.md"
GROUPS = {
    "Find faults": ("detect", "FileResult", "LineAnswer", "FaultEpisode", "load_artefact", "compare"),
    "Classify and track windows": ("Detector", "WindowRecord", "Engine", "Artefact"),
    "Read waveforms and cut windows": (
        "open_waveforms",
        "ReadOptions",
        "windows_of",
        "cut_windows",
        "window_messages",
        "OutgoingWindows",
        "MSGPACK_HEADERS",
        "SIMULATED_HEADERS",
        "WindowMessage",
    ),
    "Follow events": ("EventFeed", "StartAt", "fault_topics", "EventFilter", "Received", "FaultEvent"),
    "Record and replay": (
        "RecordingWriter",
        "Recording",
        "RecordedMessage",
        "open_recording",
        "read_recording",
        "repair",
        "open_replay",
    ),
    "Simulate and train": ("scenario", "Scenario", "Windows", "WindowRecipe"),
    "Specs, settings, errors": (
        "SignalSpec",
        "EpisodePolicy",
        "load_spec",
        "Settings",
        "load_settings",
        "FaultlineError",
    ),
}
INTRODUCTION = """# Python API

`import faultline` provides the names below. Each is loaded when it is first used, so the import itself takes no time
and does not load TensorFlow. Names that are not on this page are not public and may change between versions.

"""
MORE = """## Find an episode: `stream.subscribe`

::: stream.subscribe.find_episode
    options:
      heading: stream.subscribe.find_episode

## Test your own code: `faultline.testing`

::: faultline.testing
    options:
      heading: faultline.testing
      show_root_heading: false
      show_root_toc_entry: false
      members: {testing}

## Bring a domain: `model.domain`

A domain defines a kind of signal. The [architecture](../architecture.md#the-domain-interface) lists what it provides,
and `examples/own_domain` is a small complete one.

::: model.domain
    options:
      show_root_heading: false
      show_root_toc_entry: false
      members: [Domain, Signal, SignalFeature, load_domain, domain_of]
"""


def page() -> str:
    """Return the whole page."""
    import faultline
    import faultline.testing

    homes = faultline._HOME_OF
    grouped = {name for names in GROUPS.values() for name in names} | {"Domain"}
    further = tuple(name for name in homes if name not in grouped)
    groups = {**GROUPS, **({"Further": further} if further else {})}
    parts = [INTRODUCTION]
    for heading, names in groups.items():
        parts.append(f"## {heading}\n")
        for name in names:
            settings = "\n      members: false" if name == "Settings" else ""
            parts.append(f"::: {homes[name]}.{name}\n    options:\n      heading: faultline.{name}{settings}\n")
    parts.append(MORE.format(testing=sorted(faultline.testing.__all__)))
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
