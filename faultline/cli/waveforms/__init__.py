"""Commands for waveforms in files; none of them needs a broker."""
