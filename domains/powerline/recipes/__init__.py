"""Train and compare models of power lines by recipes."""
