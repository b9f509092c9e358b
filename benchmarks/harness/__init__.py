"""Run contenders on a broker: load, processes, description of the machine, figures of the broker."""
