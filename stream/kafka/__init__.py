"""Use Kafka: clients, topics, access control, readers, producers, lag."""
