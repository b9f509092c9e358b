"""Receive retraining requests from topic, HTTP and schedule, queue them, and publish reports."""
