"""Shortest paths: one pair, one root, all pairs; on scipy's Dijkstra, ties always falling the same way.

Which of several equally short ways is taken depends only on the links' weights and the nodes' names, never on
the order in which nodes were added or on scipy's heap. scipy gives the distances (a minimum of sums, so there
is only one answer); the tree is then read off them: of the links that lie on a shortest way, each node takes
the one whose other end has the least name, of parallel ones the lowest link id. Equal means equal as floats,
added up in path order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.errors import NoPath, UnknownNode
from pathing.path import Path
from pathing.topology import Topology
from pathing.weights import Side, WeighedGraph, Weight, weigh

NO_LINK = -1
_ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class PathTree:
    """The shortest paths between one node, the root, and all others.

    By node index: `distance`, infinite if there is no way, and `link`, the id of the link at the node's end of
    its path (the last one of a path from the root, the next hop of a path to it), -1 without one.
    """

    topology: Topology
    root: str
    to_root: bool
    distance: FloatArray
    link: IndexArray

    def path(self, node: str) -> Path:
        """Give the path from the root to `node` or, in a tree to the root, the other way round.

        Raises `UnknownNode`, and `NoPath` with the reason as the topology is now.
        """
        topology = self.topology
        at, root = _index_then(topology, node, self.distance.size), topology.node_index(self.root)
        weight = float(self.distance[at])
        if math.isinf(weight):
            src, dst = (node, self.root) if self.to_root else (self.root, node)
            raise NoPath(src, dst, _why_not(topology, src, dst))
        links, nodes = [], [at]
        while at != root:
            links.append(int(self.link[at]))
            at = topology.end_indexes(links[-1])[self.to_root]
            nodes.append(at)
        if not self.to_root:
            links.reverse()
            nodes.reverse()
        names = topology.node_names
        return Path(tuple(names[index] for index in nodes), tuple(links), weight)


@dataclass(frozen=True, slots=True, eq=False)
class AllPairs:
    """The shortest paths between all nodes.

    `distance` has the source's index first, (n_nodes, n_nodes), infinite if there is no way. It is all that is
    kept, 8 MB for 1,000 nodes: links are read off a column of it when a path is asked for. It stays as it is
    when the topology changes.
    """

    topology: Topology
    graph: WeighedGraph
    distance: FloatArray

    def path(self, src: str, dst: str) -> Path:
        """Give the path that `shortest_path` gives. Raises `UnknownNode`, `NoPath`."""
        return self.paths_to(dst).path(src)

    def paths_to(self, dst: str) -> PathTree:
        """Give the tree that `shortest_paths_to` gives, without a search. Raises `UnknownNode`."""
        root = _index_then(self.topology, dst, len(self.distance))
        distance = self.distance[:, root]
        return PathTree(self.topology, dst, True, distance, _links(self.graph, distance, root, to_root=True))


def shortest_path(topology: Topology, src: str, dst: str, weight: Weight = "latency_ms") -> Path:
    """Find the shortest path from `src` to `dst`.

    Of equally short paths without zero-weight links it is the one whose list of node names sorts first. An
    unknown latency is charged as in `weights.charge_unknown`. From a node to itself the path has no links.
    Raises `UnknownNode`, `WeightError`, and `NoPath` with the reason.
    """
    topology.node_index(src)
    return shortest_paths_to(topology, dst, weight).path(src)


def shortest_paths_from(topology: Topology, src: str, weight: Weight = "latency_ms") -> PathTree:
    """Find the shortest paths from `src` to every node.

    Ties are decided from the end: of two equally short paths to a node that one is taken whose last link starts
    at the node with the lesser name, so it need not be the one of `shortest_path`. Raises `UnknownNode` and
    `WeightError`. Dijkstra, "A note on two problems in connexion with graphs", 1959; scipy.sparse.csgraph.
    """
    return search(topology, weigh(topology, weight), src, to_root=False)


def shortest_paths_to(topology: Topology, dst: str, weight: Weight = "latency_ms") -> PathTree:
    """Find the shortest paths from every node to `dst`, each that of `shortest_path`: the next hops towards it.

    Raises `UnknownNode` and `WeightError`.
    """
    return search(topology, weigh(topology, weight), dst, to_root=True)


def all_pairs(topology: Topology, weight: Weight = "latency_ms") -> AllPairs:
    """Find the shortest paths from every node to every node. Raises `WeightError`."""
    graph = weigh(topology, weight)
    distance: FloatArray = dijkstra(graph.inward.matrix).T
    distance.flags.writeable = False
    return AllPairs(topology, graph, distance)


def search(
    topology: Topology, graph: WeighedGraph, root: str, *, to_root: bool, limit: float = math.inf
) -> PathTree:
    """Find the tree of a graph that is already weighed, as far as `limit`; raises `UnknownNode`.

    Nodes farther away than that count as out of reach.
    """
    index = topology.node_index(root)
    distance = _distances(graph.inward if to_root else graph.outward, index, limit)
    return PathTree(topology, root, to_root, distance, _links(graph, distance, index, to_root=to_root))


def _index_then(topology: Topology, name: str, n_nodes: int) -> int:
    """Index of a node that was among the first `n_nodes`; one added since is unknown to what was found before."""
    index = topology.node_index(name)
    if index >= n_nodes:
        raise UnknownNode(name, topology.node_names[:n_nodes])
    return index


def _distances(side: Side, root: int, limit: float = math.inf) -> FloatArray:
    # With one source min_only asks for nothing else than its distances; it takes a little less time.
    return dijkstra(side.matrix, indices=[root], min_only=True, limit=limit)


def _links(graph: WeighedGraph, distance: FloatArray, root: int, *, to_root: bool) -> IndexArray:
    """Read the tree off the distances: each node's link lies on a shortest way, ties falling as Csr says."""
    side = graph.outward if to_root else graph.inward
    onward = distance.take(side.csr.neighbours)
    onward += side.weights
    tight = (onward == distance.take(side.csr.rows)).nonzero()[0]
    longest = float(distance.max())
    if math.isinf(longest):
        reached = np.isfinite(distance)
        longest = float(distance[reached].max())
        tight = tight[reached.take(side.csr.rows.take(tight))]
    elif tight.size == distance.size - 1:
        return _only_choice(side.csr.links.take(tight), root)
    # Links longer than any rounding error make their far end truly farther: then the choices cannot loop.
    if graph.least > longest * _ROUNDING:
        link = np.full(distance.size, NO_LINK)
        _take_best(link, side, tight)
    else:
        link = _choose_without_loops(distance, side, tight, root)
    link[root] = NO_LINK
    return link


def _only_choice(links: IndexArray, root: int) -> IndexArray:
    """Put -1 for the root between links that are in the order of their nodes.

    Every node but the root lies on a shortest way, so it has one of these links at least. With as many links as
    such nodes it has that one only: no ties, and no loop, as the tree that was searched is made of them.
    """
    link = np.empty(links.size + 1, dtype=np.intp)
    link[:root] = links[:root]
    link[root] = NO_LINK
    link[root + 1 :] = links[root:]
    return link


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
