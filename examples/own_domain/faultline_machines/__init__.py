"""Detect faults in the vibration of rotating machines: a complete domain in five short files.

1. ``machine.toml``, the spec: channels, length of a window, rate, classes.
2. ``domain.py``, the object that Faultline loads.
3. ``signal.py``, the source of labelled windows: a simulator here, your recordings in a real domain.
4. ``recipe.py``, the training of a model on these windows.
5. ``events.py``, the fields that a fault event has in addition to the generic ones.
"""
