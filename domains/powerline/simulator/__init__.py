"""The line simulator: a small electromagnetic-transient model of a line between two sources.

`network` draws lines, `solver` steps their state equations, `faults` and `disturbances` plan what happens
to them, `drive` is what the sources do, `measurement` is what an instrument makes of it, `episodes` puts
them together. Every function is pure: the same seed gives the same arrays.
"""
