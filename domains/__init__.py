"""Signal domains: each knows its channels, classes, data and evaluation; the core finds them by entry points."""
