"""Signal specs: what a window holds, which classes there are, and when a run of classes is an episode.

A spec is a TOML file. Two ship with the package (``line``, ``instant``); a user's own is loaded by its path.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import SpecError

__all__ = ["EpisodePolicy", "FaultClass", "FaultType", "SignalSpec", "load_spec", "shipped_specs"]

FaultType = Literal["none", "lg", "ll", "llg", "lll", "lllg"]

# Phases in fault, and whether ground takes part, as the type's own letters say.
_PHASES: dict[FaultType, int] = {"none": 0, "lg": 1, "ll": 2, "llg": 2, "lll": 3, "lllg": 3}
_GROUND: dict[FaultType, bool] = {name: name.endswith("g") for name in _PHASES}

# A spec also arrives inside an artefact from a topic: its sizes are bounded before anything is built from it.
_MAX_SAMPLES = 4096
_MAX_CHANNELS = 64
_MAX_CLASSES = 64

Channel = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Label = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^\S(.*\S)?$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FaultClass(_Model):
    """One output of the network and what it means on the line.

    ``phases`` are the faulted ones, in the order of the class's usual name (``"CA"``); empty where the class
    does not tell them, as ``LG`` of the spec ``instant``.
    """

    name: Label
    type: FaultType
    phases: str = Field(default="", pattern=r"^[ABC]{0,3}$")
    ground: bool = False

    @model_validator(mode="after")
    def _agrees_with_its_type(self) -> Self:
        expected = _PHASES[self.type]
        if len(set(self.phases)) != len(self.phases):
            raise ValueError(f"class {self.name!r}: phases {self.phases!r} repeats a phase")
        if self.phases and len(self.phases) != expected:
            raise ValueError(
                f"class {self.name!r}: type {self.type!r} has {expected} phase(s), not {self.phases!r};"
                " leave phases empty if the class does not tell them"
            )
        if self.ground is not _GROUND[self.type]:
            raise ValueError(
                f"class {self.name!r}: type {self.type!r} needs ground = {str(_GROUND[self.type]).lower()}"
            )
        return self


class EpisodePolicy(_Model):
    """When a run of window classes opens an episode and when quiet closes it. All counts are windows.

    ``certainty`` is the least probability of a fault, of whatever class, for a window to count towards an onset.
    Once an episode is open the most probable class alone decides, so that a fault that grows faint is not cut off.
    """

    confirm: int = Field(default=3, ge=1, le=1000)
    of: int = Field(default=4, ge=1, le=1000)
    clear: int = Field(default=8, ge=1, le=100_000)
    # Over 1,004 simulated faults and as many disturbances: .5 gave 6 false alarms, .9 one, neither missed more.
    certainty: float = Field(default=0.9, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _can_confirm(self) -> Self:
        if self.confirm > self.of:
            raise ValueError(f"confirm {self.confirm} of {self.of} can never happen: confirm must be ≤ of")
        return self


class SignalSpec(_Model):
    """The shape and meaning of a line's windows.

    A window is float32 (samples, channels), per unit of the line's nominal peak values. ``sequence`` says
    what the recurrent layer steps over: ``"time"`` gives it ``samples`` steps of ``channels`` values,
    ``"channels"`` gives it ``channels`` steps of ``samples`` values.

    Example:
        >>> spec = load_spec("line")
        >>> spec.window_shape, spec.class_names[spec.none_index]
        ((32, 6), 'none')
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    domain: str = Field(default="powerline", pattern=r"^[a-z][a-z0-9_-]{0,63}$", exclude=True)
    """Name of the installed domain; specs from before there were domains are of power lines."""
    description: str = Field(default="", max_length=1000)
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=_MAX_CHANNELS)
    samples: int = Field(ge=1, le=_MAX_SAMPLES)
    hop: int = Field(ge=1, le=_MAX_SAMPLES)
    samples_per_cycle: int = Field(ge=1, le=100_000)
    nominal_hz: float = Field(gt=0, le=1000)
    sequence: Literal["time", "channels"] = "time"
    classes: tuple[FaultClass, ...] = Field(min_length=2, max_length=_MAX_CLASSES)
    episode: EpisodePolicy = EpisodePolicy()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for field, names in (("channels", self.channels), ("classes", self.class_names)):
            repeated = [name for name, times in Counter(names).items() if times > 1]
            if repeated:
                raise ValueError(f"{field}: {', '.join(repeated)} occurs more than once")
        silent = [fault.name for fault in self.classes if fault.type == "none"]
        if len(silent) != 1:
            found = ", ".join(silent) or "no class"
            raise ValueError(f"classes: exactly one class must have type 'none', found {found}")
        return self

    @property
    def window_shape(self) -> tuple[int, int]:
        """(samples, channels)."""
        return self.samples, len(self.channels)

    @property
    def rate_hz(self) -> float:
        """Samples a second at nominal frequency."""
        return self.samples_per_cycle * self.nominal_hz

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the network's outputs."""
        return tuple(fault.name for fault in self.classes)

    @property
    def none_index(self) -> int:
        """Index of the class that means no fault."""
        return next(index for index, fault in enumerate(self.classes) if fault.type == "none")

    @property
    def currents(self) -> tuple[int, ...]:
        """Indices of the channels that are currents: those whose name begins with ``i``."""
        return tuple(index for index, name in enumerate(self.channels) if name.startswith("i"))

    @property
    def voltages(self) -> tuple[int, ...]:
        """Indices of the channels that are voltages: those whose name begins with ``v``."""
        return tuple(index for index, name in enumerate(self.channels) if name.startswith("v"))

    @property
    def digest(self) -> str:
        """SHA-256 of the spec's canonical JSON: equal for equal specs, whatever their file looked like."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def channel_index(self, name: str) -> int:
        """Column of a channel. Raises SpecError naming the channels there are."""
        return _position(self.channels, name, f"spec {self.name!r} has no channel")

    def class_index(self, name: str) -> int:
        """Output of a class. Raises SpecError naming the classes there are."""
        return _position(self.class_names, name, f"spec {self.name!r} has no class")

    def merged_three_phase(self) -> tuple[int, ...]:
        """For every class the index to score it under when LLL and LLLG count as one.

        The two cannot be told apart on a balanced line, so a merged score stands beside every full one. Index
        an integer array of classes with it: ``np.asarray(spec.merged_three_phase())[classes]``.
        """
        three = [index for index, fault in enumerate(self.classes) if fault.type in ("lll", "lllg")]
        return tuple(three[0] if index in three else index for index in range(len(self.classes)))


def shipped_specs() -> tuple[str, ...]:
    """Names of the specs inside the package."""
    folder = resources.files("model") / "specs"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_spec(name_or_path: str | Path) -> SignalSpec:
    """Load a shipped spec by name, or a user's own by the path of its TOML file.

    Args:
        name_or_path: ``"line"``, ``"instant"``, or a path: whatever ends in ``.toml`` or holds a separator.

    Raises:
        SpecError: no such spec, unreadable TOML, or a field that is not allowed; one line that says which.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        try:
            return _parse(Path(text).read_bytes(), text)
        except OSError as error:
            raise SpecError(f"{text}: cannot read the spec: {error.strerror or error}") from error
    if text not in shipped_specs():
        raise SpecError(
            f"no signal spec {text!r}; shipped are {', '.join(shipped_specs())}, or give a .toml file's path"
        )
    return _parse((resources.files("model") / "specs" / f"{text}.toml").read_bytes(), f"{text}.toml")


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
    """Every complaint as ``field: what is allowed``, joined in one line."""
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
