"""Fit a network: steps, rounds, checkpoints, calibration, manifests."""
