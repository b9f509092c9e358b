"""Run the Faust worker: transport, micro-batches, pipeline, per-line state, model swap."""
