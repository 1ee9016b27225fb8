"""Shortest paths: one pair, one root, all pairs; on scipy's Dijkstra, ties always falling the same way.

Which of several equally short ways is taken depends only on the links' weights and the nodes' names, never on
the order in which nodes were added or on scipy's heap. scipy gives the distances (a minimum of sums, so there
is only one answer); the tree is then read off them: of the links that lie on a shortest way, each node takes
the one whose other end has the least name, of parallel ones the lowest link id. Equal means equal as floats,
added up in path order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.errors import NoPath
from pathing.path import Path
from pathing.topology import Topology
from pathing.weights import Side, WeighedGraph, Weight, weigh

NO_LINK = -1
_ROUNDING = float(np.finfo(np.float64).eps)


class PathTree(NamedTuple):
    """For each node its distance, infinite if there is no way, and the link it uses, -1 there and at the root."""

    distance: FloatArray
    link: IndexArray


def shortest_path(topology: Topology, src: str, dst: str, weight: Weight = "latency_ms") -> Path:
    """Find the shortest path from `src` to `dst`.

    Of equally short paths without zero-weight links it is the one whose list of node names sorts first. An
    unknown latency is charged as in `weights.charge_unknown`. From a node to itself the path has no links.
    Raises `UnknownNode`, `WeightError`, and `NoPath` with the reason.
    """
    start, end = topology.node_index(src), topology.node_index(dst)
    tree = _tree(weigh(topology, weight), end, towards_root=True)
    if math.isinf(tree.distance[start]):
        raise NoPath(src, dst, _why_not(topology, src, dst))
    names = topology.node_names
    nodes, links, node = [src], [], start
    while node != end:
        links.append(int(tree.link[node]))
        node = topology.end_indexes(links[-1])[1]
        nodes.append(names[node])
    return Path(tuple(nodes), tuple(links), float(tree.distance[start]))


def shortest_path_tree(
    topology: Topology, root: str, weight: Weight = "latency_ms", towards_root: bool = False
) -> PathTree:
    """Find the shortest paths from `root` to every node or, with `towards_root`, from every node to it.

    `link` is the last link on the way to the node, or the first link on its way to the root (its next hop).
    Raises `UnknownNode` and `WeightError`. Dijkstra 1959; scipy.sparse.csgraph.
    """
    return _tree(weigh(topology, weight), topology.node_index(root), towards_root)


def next_hops(topology: Topology, weight: Weight = "latency_ms") -> NDArray[np.int32]:
    """Give the link id that node i uses towards node j as entry [i, j], -1 for none: (n_nodes, n_nodes).

    Following it never loops, and follows `shortest_path`. Raises `WeightError`.
    """
    graph = weigh(topology, weight)
    hops = np.empty((topology.n_nodes, topology.n_nodes), dtype=np.int32)
    for node in range(topology.n_nodes):
        hops[:, node] = _tree(graph, node, towards_root=True).link
    return hops


def _tree(graph: WeighedGraph, root: int, towards_root: bool) -> PathTree:
    searched, chosen = (graph.inward, graph.outward) if towards_root else (graph.outward, graph.inward)
    distance = _distances(searched, root)
    onward = distance.take(chosen.csr.neighbours) + chosen.weights
    tight = (onward == distance.take(chosen.csr.rows)).nonzero()[0]
    longest = float(distance.max())
    if math.isinf(longest):
        reached = np.isfinite(distance)
        longest = float(distance[reached].max())
        tight = tight[reached.take(chosen.csr.rows.take(tight))]
    # Links longer than any rounding error make their far end truly farther: then the choices cannot loop.
    if graph.least > longest * _ROUNDING:
        link = np.full(distance.size, NO_LINK)
        _take_best(link, chosen, tight)
    else:
        link = _choose_without_loops(distance, chosen, tight, root)
    link[root] = NO_LINK
    return PathTree(distance, link)


def _distances(side: Side, root: int) -> FloatArray:
    distance: FloatArray = dijkstra(side.matrix, indices=[root])[0]
    return distance


def _take_best(link: IndexArray, side: Side, positions: IndexArray) -> None:
    # Of several positions in one row the last assigned stays, which is the one to prefer: see Csr.
    link[side.csr.rows.take(positions)] = side.csr.links.take(positions)


def _choose_without_loops(distance: FloatArray, side: Side, tight: IndexArray, root: int) -> IndexArray:
    """Choose links when some have no length, where the nodes at either end could each choose the other.

    A node takes a link that brings it nearer if it has one; the rest are taken in rounds, each node joining
    by a link of no length to a node of an earlier round. Nodes without such links choose as they always do.
    """
    link = np.full(distance.size, NO_LINK)
    rows, neighbours = side.csr.rows.take(tight), side.csr.neighbours.take(tight)
    nearer = distance.take(neighbours) < distance.take(rows)
    _take_best(link, side, tight[nearer])
    settled = link != NO_LINK
    settled[root] = True
    left = tight[~nearer]
    while left.size:
        left = left[~settled.take(side.csr.rows.take(left))]
        joining = left[settled.take(side.csr.neighbours.take(left))]
        if not joining.size:
            break
        _take_best(link, side, joining)
        settled[side.csr.rows.take(joining)] = True
    return link


def _why_not(topology: Topology, src: str, dst: str) -> str:
    sources, targets = topology.ends()
    leaving, entering = sources == topology.node_index(src), targets == topology.node_index(dst)
    up = topology.array("up") > 0
    if not leaving.any():
        return f"no link leaves {src!r}"
    if not entering.any():
        return f"no link enters {dst!r}"
    if not (leaving & up).any():
        return f"every link that leaves {src!r} is down"
    if not (entering & up).any():
        return f"every link that enters {dst!r} is down"
    if np.isfinite(_reach(topology, src, np.ones(topology.n_links))[topology.node_index(dst)]):
        if np.isfinite(_reach(topology, src, np.where(up, 1.0, np.inf))[topology.node_index(dst)]):
            return "every way crosses a link whose weight is infinite"
        return "every way crosses a link that is down"
    return "no chain of links joins them"


def _reach(topology: Topology, src: str, usable: FloatArray) -> FloatArray:
    graph = WeighedGraph(topology.structure(), usable)
    return _distances(graph.outward, topology.node_index(src))
