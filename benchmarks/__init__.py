"""Benchmarks of a checkout, not installed: Faultline beside what one would otherwise write, on the same bytes."""
