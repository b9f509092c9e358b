"""Decide whether a candidate may replace the champion."""
