"""Define the commands for models in use: registry, keys, the sidecar that retrains, and labels for retraining."""
