"""Benchmarks that compare Faultline with other ways to do the same job on the same bytes; part of a checkout only."""
