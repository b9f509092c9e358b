"""Run the demo: windows of simulated lines pass through a real worker, and an audit accounts for every window."""
