"""Define the commands that use Kafka: worker, topics, rights, recordings, replays, dead letters and events."""
