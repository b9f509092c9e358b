"""Read the formats of waveform files into raw records."""
