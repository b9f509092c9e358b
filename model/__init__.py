"""Models: signal specs, architectures, artefacts and the compiled engine. It imports no other Faultline package."""

import os

# TensorFlow reads this once, at its first import. Without it every command starts with a screen of notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
