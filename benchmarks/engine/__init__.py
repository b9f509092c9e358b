"""Measure the compiled engine alone, beside other runtimes."""
