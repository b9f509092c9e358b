"""Store a model in a file: weights and a manifest, verified before use and optionally signed; never code."""

from model.artefact.artefact import Artefact, Manifest, build_model, shipped

__all__ = ["Artefact", "Manifest", "build_model", "shipped"]
