"""Publish records that cannot be decoded as dead letters, list them, and resend them."""
