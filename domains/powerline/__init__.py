"""Power lines: phases, ground and mains cycles; waveform files, simulator, conditions, recipes."""
