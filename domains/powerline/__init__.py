"""Define the domain of power lines: phases and cycles, waveform files, simulator, conditions and recipes."""
