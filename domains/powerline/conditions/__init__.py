"""Fault conditions of power lines for the robustness evaluation."""
