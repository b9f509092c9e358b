"""Read the supported formats of waveform files into raw records."""
