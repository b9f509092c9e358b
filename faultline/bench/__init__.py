"""``faultline bench``: Faultline beside what one would otherwise write, on one broker, one model and the same bytes."""
