"""What a model is: signal specs, architectures, artefacts and the compiled engine. Imports nothing of ours."""
