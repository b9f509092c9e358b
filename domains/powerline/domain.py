"""Power lines as a domain: the one object of this package that the generic machine sees."""

from __future__ import annotations

from model.domain import Domain


class PowerLine(Domain):
    """Three-phase currents and voltages of a line, judged by windows of mains cycles."""

    name = "powerline"


POWERLINE = PowerLine()
