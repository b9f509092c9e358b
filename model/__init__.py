"""Define models: signal specs, architectures, artefacts, the compiled engine. Import no other Faultline package."""

import os

# TensorFlow reads this variable once, at its first import. Without it every command prints a screenful of notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
