"""Recording topics, and sending what was recorded again."""
