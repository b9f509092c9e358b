"""Evaluate models of power lines for the gate and the report."""
