"""Rates and segments at the edges of what a file can state."""

import numpy as np

from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.cycles import one_cycle_waves
from domains.powerline.waveforms.signal.event_phasors import event_phasors, state_before
from domains.powerline.waveforms.signal.resample import resampled


def test_samples_within_one_step_of_the_new_rate_need_no_long_filter() -> None:
    samples = np.ones((100, 6), np.float32)
    waves, start_s = resampled(samples, [Segment(0, 100, 1e9, 0.5)], 1600.0)
    assert (waves.shape, start_s) == ((1, 6), 0.5)
    np.testing.assert_allclose(waves, 1, rtol=1e-4)
    assert event_phasors(samples, [Segment(0, 100, 1e9, 0.0)], 50.0) is None


def test_cycles_are_those_of_the_first_segment_that_holds_one() -> None:
    """A record whose first segment is a fragment has cycles in the next one."""
    turns = 2 * np.pi * 50 * np.arange(1000) / 1000
    samples = np.stack([np.cos(turns - 2 * np.pi * k / 3) for k in (0, 1, 2, 0, 1, 2)], axis=1).astype(np.float32)
    segments = [Segment(0, 5, 1000.0, 0.0), Segment(5, 1000, 1000.0, 1.0)]
    assert len(one_cycle_waves(samples, segments, 50.0)) == 49
    state = state_before(samples, segments, 50.0)
    assert state is not None
    assert state.start_s == 1.0
    np.testing.assert_allclose(np.abs(state.voltages), [0, 1, 0], atol=5e-3)
