"""The domain of power lines: phases, ground and mains cycles, waveform files, simulator, conditions and recipes."""
