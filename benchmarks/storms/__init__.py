"""Stress tests on Apache Kafka: kill the worker and the sidecar, swap models, retrain, and report figures."""
