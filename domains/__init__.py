"""Signal domains. Each defines its channels, classes, data and evaluation; the core finds them by entry points."""
