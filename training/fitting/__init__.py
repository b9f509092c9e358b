"""Fit a network: training steps, rounds, checkpoints, calibration and manifests."""
