"""Commands around models in use: the registry, its keys, the sidecar, and what it learns from."""
