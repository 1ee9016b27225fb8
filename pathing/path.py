"""A path as a value, with what can be read off it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pathing.topology import Topology


@dataclass(frozen=True, slots=True)
class Path:
    """A walk through the topology: n nodes and the n - 1 links between them.

    `weight` is the sum in whatever unit the path was sought in.
    The methods read the topology as it is now, not as it was when the path was found.
    """

    nodes: tuple[str, ...]
    links: tuple[int, ...]
    weight: float

    @property
    def src(self) -> str:
        """First node."""
        return self.nodes[0]

    @property
    def dst(self) -> str:
        """Last node."""
        return self.nodes[-1]

    @property
    def hops(self) -> int:
        """Number of links; 0 from a node to itself."""
        return len(self.links)

    def latency_ms(self, topology: Topology) -> float | None:
        """Sum of the links' one-way latencies; None if any of them is unknown."""
        column = topology.array("latency_ms")
        total = math.fsum(float(column[link]) for link in self.links)
        return None if math.isnan(total) else total

    def loss(self, topology: Topology) -> float:
        """Share of packets lost end to end, links taken as independent."""
        column = topology.array("loss")
        return 1.0 - math.prod(1.0 - float(column[link]) for link in self.links)

    def capacity_mbps(self, topology: Topology) -> float:
        """Capacity of the narrowest link, load not counted; infinite for a path without links."""
        column = topology.array("capacity_mbps")
        return min((float(column[link]) for link in self.links), default=math.inf)

    def is_up(self, topology: Topology) -> bool:
        """Whether every link of it is up."""
        column = topology.array("up")
        return all(column[link] for link in self.links)
