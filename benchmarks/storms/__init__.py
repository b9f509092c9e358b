"""Run the worker and the sidecar under kills, swaps and retrainings on Apache Kafka, with figures."""
