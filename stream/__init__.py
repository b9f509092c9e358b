"""Turn windows into fault events: contract, settings, transport, worker, episodes, dead letters, replay."""
