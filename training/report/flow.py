"""A network's layers as branches: chains in which one layer follows the other, and how the chains join."""

from __future__ import annotations

from collections.abc import Sequence

from training.report.data import Layer

Chain = list[Layer]


def chains(layers: Sequence[Layer]) -> tuple[list[Chain], list[Chain]]:
    """Return the chains that read the window, and those that join others; ``layers`` in any order of the flow."""
    found: list[Chain] = []
    for layer in layers:
        before = [chain for chain in found if (chain[-1].name,) == layer.connected_to]
        if before:
            before[0].append(layer)
        else:
            found.append([layer])
    return [c for c in found if not c[0].connected_to], [c for c in found if c[0].connected_to]


def structure(layers: Sequence[Layer]) -> str:
    """Return the layers with their sizes: chains that read the window, then those that join them."""
    reading, joining = ([" → ".join(layer.named for layer in chain) for chain in part] for part in chains(layers))
    return "; joined: ".join([" beside ".join(reading), *joining])


def is_branched(layers: Sequence[Layer]) -> bool:
    """Whether a table of the layers has to tell what each is connected to."""
    reading, joining = chains(layers)
    return len(reading) + len(joining) > 1


def parameters(chain: Sequence[Layer]) -> int:
    """Return how many parameters the layers of a chain have together."""
    return sum(layer.parameters for layer in chain)
