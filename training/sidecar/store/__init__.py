"""Store windows and their labels on disk."""
