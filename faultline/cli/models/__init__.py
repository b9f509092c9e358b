"""Commands for models in use: the registry, its keys, the sidecar that retrains, and the labels it trains on."""
