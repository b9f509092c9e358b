"""Faultline: streaming fault detection for power lines. The outer edge: command line and public names."""

__version__ = "0.1.0"
