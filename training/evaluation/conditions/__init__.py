"""Define conditions: the ways in which operation may differ from training, each in five severities."""
