"""The pure rules of the sidecar: what is kept of the field, when to retrain, what becomes of requests."""
