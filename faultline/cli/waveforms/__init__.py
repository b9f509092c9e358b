"""Commands on waveforms in files, without a broker."""
