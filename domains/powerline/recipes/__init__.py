"""Recipes that train and compare models of power lines."""
