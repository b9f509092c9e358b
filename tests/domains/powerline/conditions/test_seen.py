"""The conditions marked as seen are those that the training of spec `line` contains."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.registry import SEEN, UNSEEN
from domains.powerline.data.line_sequences import HARDER, INSTRUMENTS, KINDS
from domains.powerline.simulator.fault_plans import RESISTANCE_OHM
from domains.powerline.simulator.measurement import draw_chains

# Share of faulty instruments by condition.
FAULTY = {
    "harmonics": "harmonics",
    "jitter": "jitter",
    "lost_channel": "lost",
    "stuck_channel": "stuck",
    "phase_loss": "lost_phase",
    "swapped_phases": "swapped",
    "reversed_ct": "turned",
    "gap": "gaps",
    "voltages_missing": "lost_voltages",
    "phase_to_phase": "phase_to_phase",
    "aron": "aron",
    "residual_ct": "residual",
}
SHARE_OF_FAULTS = {
    "arcing": "arcing_share",
    "incipient": "incipient_share",
    "fault_in_swing": "swinging_share",
    "long_fault": "long_share",
}
NON_FAULTS = {
    "stable_swing": "wide_swing",
    "pole_slip": "pole_slip",
    "large_motor": "large_motor",
    "reactor": "reactor",
    "large_capacitor": "large_capacitor",
}
SWEEPS = [kind.sweep for kind in KINDS]


def mildest(name: str) -> float:
    return float(CONDITIONS[name].value(1))


def test_every_condition_is_either_seen_or_unseen() -> None:
    assert sorted((*SEEN, *UNSEEN)) == sorted(CONDITIONS)
    assert {name for name, condition in CONDITIONS.items() if condition.seen} == set(SEEN)


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_instruments_of_training_are_seen(name: str) -> None:
    shares = [getattr(instruments.faulty, FAULTY[name]) for instruments in INSTRUMENTS]
    assert CONDITIONS[name].seen == all(share > 0 for share in shares)


def test_inaccurate_instruments_of_training_are_seen() -> None:
    chains = [draw_chains(500, np.random.default_rng(1), instruments) for instruments in INSTRUMENTS]
    reached = {
        "noise": min(-20 * np.log10(chain.noise.max()) for chain in chains) <= mildest("noise"),
        "ct_saturation": all(i.saturable > 0 and i.knee[0] <= mildest("ct_saturation") for i in INSTRUMENTS),
        "gain_error": max(np.abs(np.abs(chain.gain) - 1).max() for chain in chains) >= mildest("gain_error") / 100,
        "current_rating": all(chain.current_base.max() >= mildest("current_rating") for chain in chains),
        # The condition draws offsets up to its severity, so a severity is reached from half of it on.
        "dc_offset": max(np.abs(chain.offset).max() for chain in chains) >= mildest("dc_offset") / 200,
    }
    assert {name: CONDITIONS[name].seen for name in reached} == reached


def test_events_of_training_are_seen() -> None:
    contained = {name: getattr(HARDER, share) > 0 for name, share in SHARE_OF_FAULTS.items()}
    contained |= {name: kind in HARDER.non_faults for name, kind in NON_FAULTS.items()}
    assert {name: CONDITIONS[name].seen for name in contained} == contained


def test_lines_within_the_sweeps_of_training_are_seen_and_lines_beyond_are_not() -> None:
    within = {
        "unbalanced_load": any(s.unbalanced_share > 0 and s.unbalance[1] >= mildest("unbalanced_load") for s in SWEEPS),
        "isolated_neutral": any(s.isolated_share > 0 for s in SWEEPS),
        "resonant_neutral": any(s.resonant_share > 0 for s in SWEEPS),
        "inverter": any(s.inverter_local_share + s.inverter_remote_share > 0 for s in SWEEPS),
        "frequency": any(s.frequency_hz[1] >= mildest("frequency") for s in SWEEPS),
        "fault_position": any(s.position[0] <= mildest("fault_position") / 100 for s in SWEEPS),
        "source_strength": any(s.strength[0] <= mildest("source_strength") for s in SWEEPS),
        "load_angle": any(s.load_angle_deg >= mildest("load_angle") for s in SWEEPS),
        "untransposed": any(s.untransposed >= mildest("untransposed") / 100 for s in SWEEPS),
        # On a line scaled to a part of its voltage, a fault of ten ohms is one of a multiple of ten ohms.
        "fault_resistance": any(RESISTANCE_OHM[1] / s.scale[0] >= mildest("fault_resistance") for s in SWEEPS),
    }
    assert {name: CONDITIONS[name].seen for name in within} == within
