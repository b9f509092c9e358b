"""Hold the registry of the conditions of power lines."""

from __future__ import annotations

from training.evaluation.conditions.condition import Conditions

__all__ = ["BASE", "CONDITIONS", "SEEN"]

# Conditions of the first version, so that means over them remain comparable between versions.
BASE = (
    *("noise", "ct_saturation", "cvt_subsidence", "harmonics", "jitter", "quantisation", "gain_error"),
    *("current_rating", "dc_offset", "lost_channel", "stuck_channel", "phase_loss", "swapped_phases", "reversed_ct"),
    *("gap", "rate", "window_position", "fault_resistance", "high_impedance", "fault_position", "source_strength"),
    *("load_angle", "untransposed", "unbalanced_load", "frequency", "sixty_hz", "evolving", "non_faults"),
)

# Conditions that the instruments and the lines of training contain, at least at a mild severity.
SEEN = (
    *("noise", "ct_saturation", "harmonics", "jitter", "quantisation", "gain_error", "current_rating"),
    *("lost_channel", "stuck_channel", "phase_loss", "swapped_phases", "reversed_ct", "gap", "window_position"),
    *("unbalanced_load", "high_impedance", "fault_resistance", "evolving", "non_faults"),
)

CONDITIONS = Conditions(groups={"base": BASE}, seen=SEEN)
