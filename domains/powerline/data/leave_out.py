"""Leave conditions out of the simulated training data, so that a model can be scored on what it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from domains.powerline.conditions import CONDITIONS
from domains.powerline.data.line_sequences import LIVES, Kind, Lives
from domains.powerline.simulator.measurement import Instruments
from domains.powerline.simulator.sweep import ParameterSweep
from domains.powerline.simulator.swings import HARDER_NON_FAULTS
from training.errors import TrainingError

__all__ = ["lives_without"]

# What remains of a property of instruments that cannot be absent.
FAINT_NOISE_DB = (60.0, 60.0)
SMALL_GAIN_ERROR = (0.001, 0.001)
# Ten ohms, the largest resistance in training, are less than those of the conditions on every line from this voltage.
HIGH_VOLTAGE_KV = (66.0, np.inf)


def _measured(**changes: Any) -> Callable[[Instruments], Instruments]:
    return lambda instruments: replace(instruments, **changes)


def _intact(*names: str) -> Callable[[Instruments], Instruments]:
    """Return a change that sets the shares ``names`` of faulty or incomplete instruments to zero."""
    return lambda instruments: replace(instruments, faulty=replace(instruments.faulty, **dict.fromkeys(names, 0.0)))


def _lines(**changes: Any) -> Callable[[Kind], Kind]:
    return lambda kind: replace(kind, sweep=replace(kind.sweep, **changes))


def _events(**changes: Any) -> Callable[[Kind], Kind]:
    return lambda kind: replace(kind, mix=replace(kind.mix, **changes))


def _never(*names: str) -> Callable[[Kind], Kind]:
    """Return a change that removes kinds of disturbances."""

    def changed(kind: Kind) -> Kind:
        left = tuple(name for name in kind.mix.non_faults if name not in names)
        return replace(kind, mix=replace(kind.mix, non_faults=left))

    return changed


def _no_swing(name: str) -> Callable[[Kind], Kind]:
    """Return a change that removes a kind of swing, and the faults during swings of both kinds."""
    remove = _never(name)
    return lambda kind: _events(swinging_share=0.0)(remove(kind))


def _no_usual_disturbance(kind: Kind) -> Kind:
    """Return a kind of life whose disturbances are at most the harder ones, and whose faults are undisturbed."""
    harder = tuple(name for name in kind.mix.non_faults if name in HARDER_NON_FAULTS)
    left = {"non_faults": harder} if harder else {"fault_share": 1.0}
    return _events(disturbed_share=0.0, **left)(kind)


# Changes of the instruments, by condition.
INSTRUMENTS_WITHOUT: Mapping[str, Callable[[Instruments], Instruments]] = {
    "noise": _measured(noise_db=FAINT_NOISE_DB),
    "ct_saturation": _measured(saturable=0.0),
    "gain_error": _measured(gain_error=SMALL_GAIN_ERROR),
    "current_rating": _measured(current_base=(1.0, 1.0)),
    "harmonics": _intact("harmonics"),
    "jitter": _intact("jitter"),
    "lost_channel": _intact("lost", "lost_voltages", "lost_currents"),
    "voltages_missing": _intact("lost_voltages"),
    "stuck_channel": _intact("stuck"),
    "phase_loss": _intact("lost_phase"),
    "swapped_phases": _intact("swapped", "crossed"),
    "reversed_ct": _intact("reversed", "turned", "turned_again"),
    "gap": _intact("gaps"),
    "phase_to_phase": _intact("phase_to_phase"),
    "aron": _intact("aron"),
    "residual_ct": _intact("residual"),
}
# Changes of the lines and their events, by condition.
KINDS_WITHOUT: Mapping[str, Callable[[Kind], Kind]] = {
    "unbalanced_load": _lines(unbalanced_share=0.0),
    "fault_resistance": _lines(kilovolt=HIGH_VOLTAGE_KV, scale=(1.0, 1.0)),
    "high_impedance": _lines(kilovolt=HIGH_VOLTAGE_KV, scale=(1.0, 1.0)),
    "fault_position": _lines(position=ParameterSweep().position),
    "evolving": _events(evolving_share=0.0),
    "non_faults": _no_usual_disturbance,
    "arcing": _events(arcing_share=0.0),
    "incipient": _events(incipient_share=0.0),
    "long_fault": _events(long_share=0.0),
    "fault_in_swing": _events(swinging_share=0.0),
    "stable_swing": _no_swing("wide_swing"),
    "pole_slip": _no_swing("pole_slip"),
    "large_motor": _never("large_motor"),
    "reactor": _never("reactor"),
    "large_capacitor": _never("large_capacitor"),
}


def lives_without(names: Sequence[str], lives: Lives = LIVES) -> Lives:
    """Return ``lives`` without the instruments, lines and events of conditions.

    Args:
        names: names of conditions. A condition that the training does not contain changes nothing.
        lives: the lives of a complete training.

    Raises:
        TrainingError: there is no such condition, or every training contains it.
    """
    if not names:
        return lives
    for condition in CONDITIONS.chosen(list(names)):
        change, other = INSTRUMENTS_WITHOUT.get(condition.name), KINDS_WITHOUT.get(condition.name)
        if change is not None:
            instruments = tuple(change(own) for own in lives.instruments)
            lives = replace(lives, instruments=instruments, worst=change(lives.worst), usual=change(lives.usual))
        elif other is not None:
            lives = replace(lives, kinds=tuple(other(own) for own in lives.kinds), natural=other(lives.natural))
        elif condition.seen:
            raise TrainingError(f"every training contains {condition.name}: choose another condition to leave out")
    return lives
