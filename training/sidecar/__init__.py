"""Sidecar that collects labelled windows, retrains in a child process, and publishes models that pass the gate."""
