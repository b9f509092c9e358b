"""Measure windows per second and latency of the worker and of other consumers."""
