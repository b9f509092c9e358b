"""Checks with figures that are run by hand: broken files, training time, the labelled store, repair by labels."""
