"""Look up the versions of installed distributions, for manifests and reports."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "not installed"


def version_of(distribution: str) -> str:
    """Return the version of a distribution, or "not installed"."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED


def tensorflow_distribution() -> str:
    """Return the name of the distribution that TensorFlow is installed from.

    It is ``tensorflow-cpu`` on Linux x86_64 without a GPU, and ``tensorflow`` elsewhere.
    """
    return "tensorflow" if version_of("tensorflow-cpu") == NOT_INSTALLED else "tensorflow-cpu"
