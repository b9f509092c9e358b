"""Train and evaluate models: data, fitting, evaluation, gate, report, and the retraining sidecar."""
