"""Store and verify an artefact: manifest and weights in one safetensors file, without code and without pickle.

The file has the safetensors format (https://huggingface.co/docs/safetensors), so other tools can read it. Its metadata
holds the manifest as canonical JSON and that text's SHA-256; the manifest holds the SHA-256 of the weights. Every
byte is therefore either hashed or compared with the hashed manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    JsonValue,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from model.artefact import container
from model.domain import domain_of, installed_domains, load_domain
from model.errors import ArtefactError, CorruptArtefactError, OversizeArtefactError, ShapeArtefactError
from model.files import write_atomic
from model.frozen import FiniteModel
from model.memory import memory_units
from model.normalisation import Normalisation
from model.rejection import Rejection
from model.spec import SignalSpec

if TYPE_CHECKING:
    import keras

__all__ = ["DEFAULT_MAX_BYTES", "Artefact", "Manifest", "Tensor", "build_model", "shipped"]

# Largest artefact: a hundred times the shipped model, and small enough for a worker that reads it from a topic.
DEFAULT_MAX_BYTES = 8 * 1024 * 1024


class Tensor(FiniteModel):
    """Name and shape of one float32 tensor."""

    name: str = Field(min_length=1, max_length=200)
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    dtype: Literal["F32"] = "F32"

    @property
    def bytes(self) -> int:
        """Size in the file, in bytes."""
        return 4 * math.prod(self.shape)


class Manifest(FiniteModel):
    """Description of a model: everything in an artefact except the weights.

    ``metrics`` holds the model's scores. ``provenance`` holds the command, seed and versions that produced it and,
    under ``run``, the values that differ from run to run. ``temperature`` divides the logits before the softmax, which
    calibrates the probabilities. ``rejection`` bounds the training distribution; without it no window is rejected.
    """

    schema_version: Literal[1] = 1
    spec: SerializeAsAny[SignalSpec]
    architecture: str
    normalisation: SerializeAsAny[Normalisation]
    temperature: float = Field(default=1.0, gt=0)
    rejection: SerializeAsAny[Rejection] | None = None
    tensors: tuple[Tensor, ...]
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    metrics: dict[str, JsonValue] = Field({})
    provenance: dict[str, JsonValue] = Field({})

    @property
    def memory_units(self) -> int:
        """Number of values that the model remembers of a line; 0 for an architecture without a memory."""
        return memory_units(self.architecture)

    @field_validator("normalisation", mode="before")
    @classmethod
    def _is_normalised_by_its_domain(cls, value: Any, info: ValidationInfo) -> Any:
        if "spec" not in info.data:
            return value
        own = domain_of(info.data["spec"]).normalisation_model
        return own.model_validate(value.model_dump() if isinstance(value, Normalisation) else value)

    @field_validator("rejection", mode="before")
    @classmethod
    def _is_bounded_by_its_domain(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or "spec" not in info.data:
            return value
        domain = domain_of(info.data["spec"])
        if domain.rejection_model is None:
            raise ValueError(f"domain {domain.name!r} has no rejection of out-of-distribution windows")
        return domain.rejection_model.model_validate(value)

    @model_validator(mode="after")
    def _fits_its_spec(self) -> Self:
        if len(self.normalisation.centre) != len(self.spec.channels):
            raise ValueError(
                f"normalisation has {len(self.normalisation.centre)} channels, the spec {len(self.spec.channels)}"
            )
        if self.rejection and max(self.rejection.positions, default=-1) >= len(self.spec.channels):
            raise ValueError("the rejection refers to channels that the spec does not have")
        return self


@dataclass(frozen=True, eq=False)
class Artefact:
    """Verified manifest with its weights, float32 arrays by tensor name.

    The constructor checks the weights against the manifest.

    Raises:
        ShapeArtefactError: names, shapes or types differ.
        CorruptArtefactError: the hash of the weights differs.
        ArtefactError: weights are not finite.
    """

    manifest: Manifest
    weights: Mapping[str, NDArray[np.float32]]
    manifest_json: str = ""
    """The manifest exactly as it was hashed, so that a model keeps its id when defaults change."""

    def __post_init__(self) -> None:
        _verify(self.manifest, self.weights)
        if not self.manifest_json:
            object.__setattr__(self, "manifest_json", _canonical(self.manifest))

    @classmethod
    def create(
        cls,
        weights: Mapping[str, NDArray[np.float32]],
        *,
        spec: SignalSpec,
        architecture: str,
        normalisation: Normalisation,
        temperature: float = 1.0,
        rejection: Rejection | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create an artefact from weights; their hash and the list of tensors follow the mapping's order.

        Raises:
            ArtefactError: the manifest is invalid or the weights are not finite.
        """
        kept = {name: np.ascontiguousarray(tensor) for name, tensor in weights.items()}
        try:
            manifest = Manifest(
                spec=spec,
                architecture=architecture,
                normalisation=normalisation,
                temperature=temperature,
                rejection=rejection,
                tensors=tuple(Tensor(name=name, shape=tensor.shape) for name, tensor in kept.items()),
                weights_sha256=container.hash_tensors(kept),
                metrics=dict(metrics or {}),
                provenance=dict(provenance or {}),
            )
        except ValidationError as error:
            raise ArtefactError(f"these values do not make a valid artefact: {_in_one_line(error)}") from error
        return cls(manifest, kept)

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        spec: SignalSpec,
        *,
        normalisation: Normalisation,
        architecture: str = "gru",
        temperature: float = 1.0,
        rejection: Rejection | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create an artefact from a trained Keras model that ``architectures.build`` has built."""
        import keras

        return cls.create(
            {weight.path: keras.ops.convert_to_numpy(weight.value) for weight in model.weights},
            spec=spec,
            architecture=architecture,
            normalisation=normalisation,
            temperature=temperature,
            rejection=rejection,
            metrics=metrics,
            provenance=provenance,
        )

    @cached_property
    def model_id(self) -> str:
        """Spec name and a short hash of the manifest, hence of the weights too: ``line-0f3a91c27d5e``."""
        lasting = container.without_run(self.manifest_json)
        return f"{self.manifest.spec.name}-{container.sha256(lasting.encode())[:12]}"

    def to_bytes(self) -> bytes:
        """Return the file's bytes; the same artefact always gives the same bytes."""
        return container.write(self.manifest_json, self.weights)

    @classmethod
    def from_bytes(cls, data: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Self:
        """Verify and decode the bytes of an artefact.

        Args:
            data: contents of the file.
            max_bytes: largest size that is accepted.

        Raises:
            OversizeArtefactError: the data is longer than ``max_bytes``; none of it is decoded.
            TruncatedArtefactError: the data ends early.
            CorruptArtefactError: a hash differs, or the container contradicts the hashed manifest.
            ShapeArtefactError: manifest and weights disagree on names, shapes or types.
            ArtefactError: the manifest is of another version, or weights are not finite.
        """
        if len(data) > max_bytes:
            raise OversizeArtefactError(_oversize("the artefact", len(data), max_bytes))
        header, blob_start = container.read_header(data)
        manifest_json = container.manifest_of(header)
        try:
            manifest = Manifest.model_validate_json(manifest_json)
        except ValidationError as error:
            raise ArtefactError(
                f"the manifest is invalid; did another version of Faultline write it? {_in_one_line(error)}"
            ) from error
        sizes = {tensor.name: (tensor.shape, tensor.bytes) for tensor in manifest.tensors}
        return cls(manifest, container.read_tensors(data, blob_start, header, sizes), manifest_json)

    def save(self, path: str | Path) -> None:
        """Write the file atomically: a reader sees the old file or the complete new one, even after a power cut."""
        target = Path(path)
        try:
            with write_atomic(target) as file:
                file.write(self.to_bytes())
        except OSError as error:
            raise ArtefactError(f"{target}: cannot write the artefact: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Self:
        """Read and verify a file; raise the errors of ``from_bytes`` with the path in front."""
        source = Path(path)
        try:
            size = source.stat().st_size
            if size > max_bytes:
                raise OversizeArtefactError(_oversize(str(source), size, max_bytes))
            data = source.read_bytes()
        except OSError as error:
            raise ArtefactError(f"{source}: cannot read the artefact: {error.strerror or error}") from error
        try:
            return cls.from_bytes(data, max_bytes=max_bytes)
        except ArtefactError as error:
            raise type(error)(f"{source}: {error}") from error


def shipped(name: str) -> Artefact:
    """Return the trained artefact that ships for a spec; raise ArtefactError, which lists them, if there is none."""
    files = {spec: file for name in installed_domains() for spec, file in load_domain(name).artefacts().items()}
    if name not in files:
        raise ArtefactError(
            f"no trained model {name!r} ships with the package; there are: {', '.join(sorted(files)) or 'none'}."
            " Train one with `faultline train` and give its path."
        )
    return Artefact.from_bytes(files[name].read_bytes())


def build_model(artefact: Artefact) -> keras.Model:
    """Return the Keras model with the artefact's weights: float32 (n, samples, channels) → logits (n, classes).

    Raises:
        ShapeArtefactError: the tensors differ from those of the architecture for this spec; none is loaded then.
    """
    from model.architectures import build

    manifest = artefact.manifest
    model = build(manifest.architecture, manifest.spec, manifest.normalisation)
    required = {weight.path: tuple(weight.shape) for weight in model.weights}
    found = {tensor.name: tensor.shape for tensor in manifest.tensors}
    for name in sorted(required.keys() | found.keys()):
        if required.get(name) != found.get(name):
            raise ShapeArtefactError(
                f"{manifest.architecture!r} for spec {manifest.spec.name!r} needs tensor {name!r} of shape"
                f" {required.get(name, 'none')}, the artefact has {found.get(name, 'none')}: another version of"
                " Faultline trained it; train it again with `faultline train`, or use the shipped model"
            )
    for weight in model.weights:
        weight.assign(artefact.weights[weight.path])
    return model


def _verify(manifest: Manifest, weights: Mapping[str, NDArray[np.float32]]) -> None:
    expected = [(tensor.name, tensor.shape, "float32") for tensor in manifest.tensors]
    found = [(name, tensor.shape, tensor.dtype.name) for name, tensor in weights.items()]
    if expected != found:
        raise ShapeArtefactError(f"the manifest lists tensors {expected}, the weights are {found}")
    if container.hash_tensors(weights) != manifest.weights_sha256:
        raise CorruptArtefactError("weights do not match their SHA-256: fetch or train the artefact again")
    broken = [name for name, tensor in weights.items() if not np.isfinite(tensor).all()]
    if broken:
        raise ArtefactError(f"weights are not finite in {', '.join(broken)}: the training diverged, train again")


def _canonical(manifest: Manifest) -> str:
    try:
        return container.canonical_json(manifest.model_dump(mode="json"))
    except ValueError as error:
        raise ArtefactError(f"metrics and provenance must be finite JSON values: {error}") from error


def _oversize(what: str, size: int, limit: int) -> str:
    return f"{what} is {size:,} bytes, the limit is {limit:,}: no Faultline model is that large"


def _in_one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
    )
