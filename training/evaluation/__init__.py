"""Evaluate a classifier: classes, events, robustness, folds."""
