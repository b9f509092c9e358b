"""Models on the stream: records, the topic, and the swap between two batches."""
