"""Commands around Kafka: the worker, its topics and rights, recordings, replays, dead letters and events."""
