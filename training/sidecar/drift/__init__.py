"""Detect drift of the input."""
