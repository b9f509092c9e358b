"""Name partitions by a tuple that equals those of Faust and aiokafka."""

from __future__ import annotations

from typing import NamedTuple


class Partition(NamedTuple):
    """Partition of a topic. Equal to Faust's and aiokafka's own tuples of the same two values."""

    topic: str
    partition: int
