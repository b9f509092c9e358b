"""Compute the size of a deployment from measured unit costs."""
