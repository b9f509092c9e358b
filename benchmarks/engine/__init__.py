"""Compare the compiled engine alone with other runtimes."""
