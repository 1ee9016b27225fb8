"""What a plan is worth: how full the fullest link would be with every demand on its shortest path."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from pathing.dataset import Dataset
from pathing.shortest import NO_LINK, shortest_paths_to


class OnShortestPaths(NamedTuple):
    """The largest utilisation, and which weight the paths are the shortest by."""

    mlu: float
    weight: str


def on_shortest_paths(dataset: Dataset) -> OnShortestPaths:
    """Send every demand over the one path of least latency that `shortest_path` gives.

    Where no latency is known that is the path of fewest links. Demands without a way are left out.
    """
    topology = dataset.topology
    weight = "latency_ms" if np.isfinite(topology.array("latency_ms")).any() else "hops"
    heads, loads = topology.ends()[1], np.zeros(topology.n_links)
    by_target: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for (src, dst), mbps in dataset.demands.items():
        by_target[dst].append((topology.node_index(src), mbps))
    for dst, demands in by_target.items():
        tree = shortest_paths_to(topology, dst, weight)
        at = np.array([source for source, _ in demands], dtype=np.intp)
        volumes = np.array([mbps for _, mbps in demands])
        while at.size:
            link = tree.link[at]
            going_on = link != NO_LINK
            link, volumes = link[going_on], volumes[going_on]
            loads += np.bincount(link, weights=volumes, minlength=loads.size)
            at = heads[link]
    return OnShortestPaths(float((loads / topology.array("capacity_mbps")).max(initial=0.0)), weight)
