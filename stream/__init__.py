"""How windows become events: contract, settings, transport, worker, episodes, dead letters, replay."""
