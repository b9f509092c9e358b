"""Run one retraining in a child process."""
