"""Evaluate power-line models for the gate and the report."""
