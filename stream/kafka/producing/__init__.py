"""Send records: the publisher of the worker, dedicated producers, records as raw bytes."""
