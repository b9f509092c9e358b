"""Train the models of power lines."""
