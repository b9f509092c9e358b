"""Record topics, and replay recordings and files."""
