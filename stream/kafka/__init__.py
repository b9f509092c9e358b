"""Talk to Kafka: clients, topics, access control, readers, producers, lag."""
