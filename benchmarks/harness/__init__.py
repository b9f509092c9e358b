"""Run a contender on a broker: load, processes, machine, broker side of the figures."""
