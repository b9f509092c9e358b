"""Measure and prepare the waveforms of a line: cycles, frequency, per unit, windows."""
