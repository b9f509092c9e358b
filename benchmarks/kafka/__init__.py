"""Run Apache Kafka from Maven jars, for tests and benchmarks of a checkout."""
