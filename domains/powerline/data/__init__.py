"""Training and test data of power lines."""
