"""A small network with parallel links as a value, for tests that compare with brute force."""

from __future__ import annotations

from dataclasses import dataclass

from pathing import Topology


@dataclass(frozen=True)
class Multigraph:
    """Links are (src, dst, weight, up)."""

    names: tuple[str, ...]
    links: tuple[tuple[str, str, float, bool], ...]

    def topology(self, names: tuple[str, ...] | None = None) -> Topology:
        """The same as a Topology, its nodes added in the order of `names`."""
        topology = Topology()
        for name in names or self.names:
            topology.add_node(name)
        for src, dst, weight, up in self.links:
            topology.add_link(src, dst, capacity_mbps=1, latency_ms=weight, up=up)
        return topology
