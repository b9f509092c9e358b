"""The name of a partition, equal to those of Faust and aiokafka."""

from __future__ import annotations

from typing import NamedTuple


class Partition(NamedTuple):
    """A topic's partition. Equal to Faust's and aiokafka's own tuples of the same two."""

    topic: str
    partition: int
