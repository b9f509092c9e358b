"""Publish records that cannot be decoded, list them, and send them again."""
