"""The record path: bytes to arrays to classes to episodes to events, confirmed before they are acknowledged."""
