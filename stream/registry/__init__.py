"""Keep models on a topic: records, reading and publishing, promotion, the initial model of a worker."""
