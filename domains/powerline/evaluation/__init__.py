"""Evaluation of power-line models for the gate and the report."""
