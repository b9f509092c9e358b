"""Kafka from outside: clients, topics, rights, tokens, and the brokers we start ourselves."""
