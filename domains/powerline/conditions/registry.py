"""Hold the registry of the conditions of power lines."""

from __future__ import annotations

from training.evaluation.conditions.condition import Conditions

__all__ = ["BASE", "CONDITIONS", "SEEN", "UNSEEN"]

# Conditions of the first version, so that means over them remain comparable between versions.
BASE = (
    *("noise", "ct_saturation", "cvt_subsidence", "harmonics", "jitter", "quantisation", "gain_error"),
    *("current_rating", "dc_offset", "lost_channel", "stuck_channel", "phase_loss", "swapped_phases", "reversed_ct"),
    *("gap", "rate", "window_position", "fault_resistance", "high_impedance", "fault_position", "source_strength"),
    *("load_angle", "untransposed", "unbalanced_load", "frequency", "sixty_hz", "evolving", "non_faults"),
)

# Conditions of which training contains at least one severity: through its instruments, its events or its lines. Fault
# resistance counts because lines of low or scaled voltage are, per unit, lines with a higher resistance in ohms. Window
# position alters nothing, and the last severity of a phase loss lasts for the whole record, as in training.
SEEN = (
    *("noise", "ct_saturation", "harmonics", "jitter", "quantisation", "gain_error", "current_rating", "dc_offset"),
    *("lost_channel", "stuck_channel", "phase_loss", "swapped_phases", "reversed_ct", "gap", "window_position"),
    *("fault_resistance", "high_impedance", "fault_position", "unbalanced_load", "evolving", "non_faults"),
    *("voltages_missing", "phase_to_phase", "aron", "residual_ct"),
    *("arcing", "incipient", "long_fault", "fault_in_swing", "stable_swing", "pole_slip"),
    *("large_motor", "reactor", "large_capacitor"),
)
# Conditions of which training contains no severity but, at most, one that alters nothing.
UNSEEN = (
    *("cvt_subsidence", "rate", "frequency", "sixty_hz"),
    *("source_strength", "load_angle", "untransposed"),
    *("isolated_neutral", "resonant_neutral", "inverter"),
    *("swapped_later", "clock_drift", "interleaved", "loss_bursts", "frequency_ramp", "ratio_step"),
)

CONDITIONS = Conditions(groups={"base": BASE}, seen=SEEN)
