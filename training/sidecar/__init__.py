"""The sidecar: collects labelled windows, retrains in a child process, publishes a model that passes the gate."""
