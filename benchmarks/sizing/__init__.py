"""Compute what a deployment needs from measured unit costs."""
