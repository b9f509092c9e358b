"""Define the commands that train and evaluate models."""
