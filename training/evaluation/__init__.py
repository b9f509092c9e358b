"""Evaluate a classifier: classes, events, robustness and folds."""
