"""Keep models on a topic: records, reading and publishing, promotion, the model a worker starts with."""
