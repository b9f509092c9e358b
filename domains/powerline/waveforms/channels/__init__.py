"""Decide which channels of a file are the phases of a line."""
