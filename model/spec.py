"""Define signal specs: the contents of a window, the classes, and the rule that turns windows into episodes.

A spec is a TOML file. Some ship with the installed domains; a user's own is loaded by its path. A domain may subclass
``SignalSpec`` to add fields; validating a mapping as ``SignalSpec`` then returns an instance of that subclass.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from model.entry_points import installed_domains, load_installed
from model.errors import SpecError
from model.frozen import FiniteModel

__all__ = ["DEFAULT_DOMAIN", "EpisodePolicy", "FaultClass", "SignalSpec", "load_spec", "shipped_specs"]

DEFAULT_DOMAIN = "powerline"
"""Domain of specs and artefacts that name none, as the earliest ones do."""
NO_FAULT = "none"
"""Type of the one class that means no fault."""

# Sizes are bounded because a spec also arrives inside an artefact from a topic, and networks are built from it.
_MAX_SAMPLES = 4096
_MAX_CHANNELS = 64
MAX_CLASSES = 64
# Highest sampling rate, one sample per nanosecond: times in ns cannot distinguish samples at a higher rate.
_MAX_RATE_HZ = 1e9

Channel = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Label = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^\S(.*\S)?$")]
# Fault type; it is also the suffix of a topic's name, which limits its characters.
Type = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class FaultClass(FiniteModel):
    """One output of the network. A domain's subclass adds the meaning of the class in that domain.

    ``type`` is ``"none"`` for the no-fault class; events of any other type are published on that type's topic.
    """

    name: Label
    type: Type


class EpisodePolicy(FiniteModel):
    """The rule that opens an episode after faulty windows and closes it after quiet ones. All counts are windows.

    An episode opens when ``confirm`` of the last ``of`` windows are faulty and closes after ``clear`` quiet windows.
    ``certainty`` is the smallest probability of a fault, of any class, at which a window counts towards an onset.
    Once an episode is open, only the most probable class counts, so that a fault that fades is not cut short.
    """

    confirm: int = Field(default=3, ge=1, le=1000)
    of: int = Field(default=4, ge=1, le=1000)
    clear: int = Field(default=8, ge=1, le=100_000)
    # On 1,004 simulated faults and as many disturbances, .5 gave 6 false alarms and .9 gave 1; the misses were equal.
    certainty: float = Field(default=0.9, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _can_confirm(self) -> Self:
        if self.confirm > self.of:
            raise ValueError(f"confirm {self.confirm} of {self.of} can never happen: confirm must be ≤ of")
        return self


class SignalSpec(FiniteModel):
    """The shape and meaning of a line's windows.

    A window is float32 (samples, channels), per unit of nominal peak values. ``sequence`` selects the axis that the
    recurrent layer steps over: ``"time"`` gives it ``samples`` steps of ``channels`` values, ``"channels"`` gives it
    ``channels`` steps of ``samples`` values.

    Example:
        >>> spec = load_spec("line")
        >>> spec.window_shape, spec.class_names[spec.none_index]
        ((32, 6), 'none')
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    domain: str = Field(default=DEFAULT_DOMAIN, pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    description: str = Field(default="", max_length=1000)
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=_MAX_CHANNELS)
    samples: int = Field(ge=1, le=_MAX_SAMPLES)
    hop: int = Field(ge=1, le=_MAX_SAMPLES)
    rate_hz: float = Field(gt=0, le=_MAX_RATE_HZ)
    """Nominal samples per second; each window message carries its line's own rate."""
    sequence: Literal["time", "channels"] = "time"
    classes: tuple[SerializeAsAny[FaultClass], ...] = Field(min_length=2, max_length=MAX_CLASSES)
    equivalent: tuple[tuple[Label, ...], ...] | None = None
    """Groups of classes that an additional score counts as one class each; by default the domain's own groups."""
    episode: EpisodePolicy = EpisodePolicy()

    @model_validator(mode="wrap")
    @classmethod
    def _is_of_its_domains_class(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if cls is SignalSpec and isinstance(value, Mapping):
            name = value.get("domain", DEFAULT_DOMAIN)
            try:
                # The field's own validation refuses a name that is not a string.
                own = _domain(name).spec_model if isinstance(name, str) else SignalSpec
            except SpecError as error:
                raise ValueError(f"domain: {error}") from error
            if own is not SignalSpec:
                found: Self = own.model_validate(value)  # type: ignore[assignment]
                return found
        return handler(value)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for field, names in (("channels", self.channels), ("classes", self.class_names)):
            repeated = [name for name, times in Counter(names).items() if times > 1]
            if repeated:
                raise ValueError(f"{field}: {', '.join(repeated)} occurs more than once")
        silent = [fault.name for fault in self.classes if fault.type == NO_FAULT]
        if len(silent) != 1:
            found = ", ".join(silent) or "no class"
            raise ValueError(f"classes: exactly one class must have type 'none', found {found}")
        return self

    @model_validator(mode="after")
    def _equivalents_are_groups_of_classes(self) -> Self:
        grouped = Counter(name for group in self.equivalent or () for name in group)
        for name, times in grouped.items():
            if name not in self.class_names:
                raise ValueError(f"equivalent: there is no class {name!r}")
            if times > 1:
                raise ValueError(f"equivalent: {name} occurs more than once")
        if self.class_names[self.none_index] in grouped:
            raise ValueError("equivalent: the no-fault class cannot be in a group")
        return self

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self._in_files(handler(self))

    def _in_files(self, dumped: dict[str, Any]) -> dict[str, Any]:
        """Return the dumped fields without later additions that have their defaults, so that old digests stay valid."""
        left_out = {"domain"} if self.domain == DEFAULT_DOMAIN else set()
        if self.equivalent is None:
            left_out.add("equivalent")
        return {name: value for name, value in dumped.items() if name not in left_out}

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape of a window: (samples, channels)."""
        return self.samples, len(self.channels)

    @property
    def period_samples(self) -> int | None:
        """Number of samples of one period, the unit of times; None for a signal without a period (times in seconds)."""
        return None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the network's outputs."""
        return tuple(fault.name for fault in self.classes)

    @property
    def none_index(self) -> int:
        """Index of the class that means no fault."""
        return next(index for index, fault in enumerate(self.classes) if fault.type == NO_FAULT)

    @property
    def fault_types(self) -> tuple[str, ...]:
        """Types of the classes that mean a fault, each once, in their order; every type has its own event topic."""
        return tuple(dict.fromkeys(fault.type for fault in self.classes if fault.type != NO_FAULT))

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Indices of the channels that measure the same quantity, by its name. A domain's subclass may define more."""
        return {"signal": tuple(range(len(self.channels)))}

    @property
    def digest(self) -> str:
        """SHA-256 of the spec's canonical JSON: equal for equal specs, however their files are formatted."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def channel_index(self, name: str) -> int:
        """Return the column of a channel; raise SpecError, which lists the channels, if there is no such channel."""
        return _position(self.channels, name, f"spec {self.name!r} has no channel")

    def class_index(self, name: str) -> int:
        """Return the output index of a class; raise SpecError, which lists the classes, if there is no such class."""
        return _position(self.class_names, name, f"spec {self.name!r} has no class")

    def equivalent_indices(self) -> tuple[int, ...]:
        """Return, for every class, the index to score it under when equivalent classes count as one.

        Index an integer array of classes with it: ``np.asarray(spec.equivalent_indices())[classes]``.
        """
        score_under = list(range(len(self.classes)))
        for group in self.equivalent or ():
            members = [index for index, name in enumerate(self.class_names) if name in group]
            for index in members:
                score_under[index] = members[0]
        return tuple(score_under)


class _Domain(Protocol):
    """The part of ``model.domain.Domain`` that specs need."""

    spec_model: type[SignalSpec]

    def specs(self) -> Mapping[str, Traversable]: ...


def _domain(name: str) -> _Domain:
    domain: _Domain = load_installed(name)
    return domain


def shipped_specs() -> tuple[str, ...]:
    """Return the names of the specs that ship with the installed domains."""
    return tuple(sorted({spec for name in installed_domains() for spec in _domain(name).specs()}))


def load_spec(name_or_path: str | Path) -> SignalSpec:
    """Load a shipped spec by name, or a user's own by the path of its TOML file.

    Args:
        name_or_path: name of a shipped spec, or a path: a string that ends in ``.toml`` or contains a separator.

    Raises:
        SpecError: there is no such spec, its TOML is unreadable, or a field is not allowed; the message is one line.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        try:
            return _parse(Path(text).read_bytes(), text)
        except OSError as error:
            raise SpecError(f"{text}: cannot read the spec: {error.strerror or error}") from error
    files = {name: specs[text] for name in installed_domains() if text in (specs := _domain(name).specs())}
    if not files:
        raise SpecError(
            f"no signal spec {text!r}; shipped are {', '.join(shipped_specs())}, or give the path of a .toml file"
        )
    if len(files) > 1:
        raise SpecError(
            f"several domains ship a signal spec {text!r}: {', '.join(files)}; give the path of a .toml file"
        )
    return _parse(next(iter(files.values())).read_bytes(), f"{text}.toml")


def _parse(data: bytes, source: str) -> SignalSpec:
    try:
        return SignalSpec.model_validate(tomllib.loads(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise SpecError(f"{source}: not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{source}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise SpecError(f"{source}: {_in_one_line(error)}") from error


def _in_one_line(error: ValidationError) -> str:
    """Return every validation error as ``field: problem``, joined in one line."""
    complaints = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        says = problem["msg"].removeprefix("Value error, ")
        if problem["type"] not in ("missing", "value_error", "extra_forbidden"):
            says += f", got {problem['input']!r:.60}"
        complaints.append(f"{field}: {says}" if field else says)
    return "; ".join(complaints)


def _position(names: tuple[str, ...], name: str, complaint: str) -> int:
    if name not in names:
        raise SpecError(f"{complaint} {name!r}; there are {', '.join(names)}")
    return names.index(name)
