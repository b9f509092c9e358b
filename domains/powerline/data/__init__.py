"""Provide training and test data of power lines."""
