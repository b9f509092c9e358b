"""Queue retraining requests: topic, HTTP, schedule, reports."""
