"""Simulate lines with a small electromagnetic-transient model of a line between two sources.

`network` draws lines at random. `fault_plans` and `disturbances` plan events. `drive` describes sources and loads over
time. `solver` integrates the state equations. `measurement` applies the measurement chain. `episodes` combines them.
Every function is pure: the same seed gives the same arrays.
"""
