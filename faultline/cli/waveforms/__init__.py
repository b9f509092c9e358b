"""Define the commands for waveform files; none of them needs a broker."""
