"""Run the demonstration: simulated lines through a real worker, with an audit of every window."""
