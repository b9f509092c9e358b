"""Conditions: the ways in which the world differs from training, in five steps each."""
