"""Vibration of rotating machines: a domain of its own, in five short files.

1. ``machine.toml``, the spec: channels, length of a window, rate, classes.
2. ``domain.py``, the object that Faultline loads.
3. ``signal.py``, where labelled windows come from; here a simulator, elsewhere your recordings.
4. ``recipe.py``, how a model is trained on them.
5. ``events.py``, what a fault event says beside the generic fields.
"""
