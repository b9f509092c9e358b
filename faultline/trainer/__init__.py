"""The trainer: gathers labelled windows, retrains in a child process, publishes what passes the gate."""
