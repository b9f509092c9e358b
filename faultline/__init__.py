"""Faultline: streaming fault detection for power lines. The outer edge: command line and public names."""

from __future__ import annotations

__version__: str
"""Of the installed package, or of the checkout that runs without being installed; looked up when it is first read."""


def __getattr__(name: str) -> object:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        return metadata.version("faultline")
    except metadata.PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return tomllib.loads(project.read_text("utf-8"))["project"]["version"]
