"""What trees of segments are grown on: the links that have room in both directions, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from pathing import CostWeights, PathTree, link_cost, shortest_paths_from
from stitching.network import LinkKey, PortId, node_name, reverse
from stitching.plan import Situation
from stitching.segment import SegmentRequest, SegmentTree

Floats = npt.NDArray[np.float64]

STAY = 0.05
"""What a link of the tree before costs as a share: a tree that grows keeps its label, and disturbs nobody."""


class Growing:
    """The fabric as far as it has room in both directions."""

    def __init__(self, request: SegmentRequest, situation: Situation, before: SegmentTree | None) -> None:
        self.network = situation.network
        self.topology = self.network.both_ways
        order = self.network.link_order
        load = np.array([situation.load_mbps.get(key, 0.0) for key in order])
        room = {key: free_mbps(key, situation) for key in order}
        back = {key: row for row, key in enumerate(order)}
        usable = [min(room[key], room.get(reverse(key), 0.0)) >= request.bandwidth_mbps for key in order]
        cost = link_cost(self.topology, load_mbps=load + request.bandwidth_mbps, weights=CostWeights())
        if situation.suspects:
            cost = cost + np.array(situation.suspicion_ms(request, order, both_ways=True))
        both = [max(cost[row], cost[back.get(reverse(key), row)]) for row, key in enumerate(order)]
        # Links that cost nothing would make ways through the tree and ways beside it look the same.
        self.plain_cost: Floats = np.where(usable, np.maximum(both, 1e-6), np.inf)
        self.cost = self.plain_cost.copy()
        self.latency: Floats = np.where(
            usable, np.nan_to_num(self.topology.array("latency_ms"), nan=np.inf), np.inf
        )
        self.free_mbps: Floats = np.array([room[key] for key in order], dtype=np.float64)
        self._row: dict[frozenset[PortId], list[int]] = defaultdict(list)
        for row, key in enumerate(order):
            self._row[frozenset({key[:2], key[2:]})].append(row)
        for key in before.links if before is not None else ():
            self.cost[self.rows(key)] *= STAY

    def rows(self, key: LinkKey) -> list[int]:
        """Both directions of a link in the arrays; none where it is gone."""
        return self._row.get(frozenset({key[:2], key[2:]}), [])

    def index(self, dpid: int) -> int:
        """Where a switch stands in the arrays of a tree."""
        return self.topology.node_index(node_name(dpid))

    def way(self, tree: PathTree, dpid: int, inside: Collection[int]) -> set[LinkKey]:
        """The links from a part of a tree that is there already to a switch."""
        found = set()
        while dpid not in inside:
            key = self.network.link_order[int(tree.link[self.index(dpid)])]
            found.add(key)
            dpid = key[0]
        return found

    def nearest(self, root: int, links: Collection[LinkKey]) -> PathTree:
        """The cheapest ways from a tree on; within it they cost nothing."""
        weight = self.cost.copy()
        for key in links:
            weight[self.rows(key)] = 0.0
        return shortest_paths_from(self.topology, node_name(root), weight)


def free_mbps(key: LinkKey, situation: Situation) -> float:
    """What a link could still be promised; where its capacity is unknown, nothing."""
    link = situation.network.links[key]
    return 0.0 if link.capacity_mbps is None else situation.resources.free(key)
