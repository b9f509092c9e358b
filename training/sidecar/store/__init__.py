"""Store labelled windows on disk."""
