"""What a model is: signal specs, architectures, artefacts and the compiled engine. Imports none of ours."""

import os

# TensorFlow reads it once, when it is first imported, and would greet every command with a screen of notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
