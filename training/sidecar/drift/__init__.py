"""Detect drift of the windows from production."""
