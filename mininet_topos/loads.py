"""What a demand matrix does to the links of a lab: loads on shortest paths, and the best any routing could do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mininet_topos.demand import BadDemand
from mininet_topos.topology import LabTopology
from pathing import Topology, shortest_paths_from
from pathing.routing import route_demands

FloatArray = npt.NDArray[np.float64]

_OPTIMUM_GAP = 1e-3


def directed(topology: LabTopology) -> Topology:
    """Return the routers and links of a lab for path computation; link i is 2i (a to b) and 2i + 1 there."""
    made = Topology()
    for name in topology.node_names:
        made.add_node(name)
    for link in topology.links:
        for src, dst in ((link.a, link.b), (link.b, link.a)):
            made.add_link(src, dst, capacity_mbps=link.rate_mbps, latency_ms=link.delay_ms)
    return made


def shortest_utilisation(topology: LabTopology, matrices: FloatArray) -> FloatArray:
    """Return (steps, directions): load over capacity with every pair on its lowest-latency path.

    Raises BadDemand when the lab is not connected.
    """
    network = directed(topology)
    flat = matrices.reshape(len(matrices), -1)
    loads: FloatArray = flat @ _shortest_routing(topology.name, network).T / network.array("capacity_mbps")
    return loads


def _shortest_routing(name: str, network: Topology) -> FloatArray:
    """Return (directions, n * n): 1 where the lowest-latency path of a pair (row-major) uses a direction."""
    n = network.n_nodes
    routing = np.zeros((network.n_links, n * n))
    for origin, source in enumerate(network.node_names):
        tree = shortest_paths_from(network, source, "latency_ms")
        if not np.isfinite(tree.distance).all():
            raise BadDemand(f"{name}: not every router reaches every other; leave the parts apart out")
        for destination, target in enumerate(network.node_names):
            routing[list(tree.path(target).links), origin * n + destination] = 1.0
    return routing


def optimum_utilisation(topology: LabTopology, matrix: FloatArray) -> float:
    """Return the lowest possible highest utilisation for one matrix, to a thousandth, traffic split at will.

    Raises BadDemand when there is no routing.
    """
    names, network = topology.node_names, directed(topology)
    demands = {
        (names[src], names[dst]): float(matrix[src, dst])
        for src, dst in zip(*np.nonzero(matrix), strict=True)
        if src != dst
    }
    plan = route_demands(network, demands, gap=_OPTIMUM_GAP, mean_weight=0.0, max_paths=network.n_links)
    if plan.unroutable:
        src, dst = plan.unroutable[0]
        raise BadDemand(f"{topology.name}: the demand has no routing: there is no way from {src} to {dst}")
    return plan.mlu
