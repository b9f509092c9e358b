"""Run a retraining in a child process."""
