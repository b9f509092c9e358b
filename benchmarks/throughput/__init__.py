"""Measure windows per second and latency of the worker beside other consumers."""
