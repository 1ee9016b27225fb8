"""How fast shortest paths are found, beside bare scipy on the same network: one source, and Yen's k shortest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import TypeVar

import networkx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra, yen
from scipy.spatial import KDTree

from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import Path, Topology
from pathing.csr import FloatArray, IndexArray
from pathing.k_shortest import k_shortest_paths
from pathing.networkx_border import to_networkx
from pathing.shortest import NO_LINK, PathTree, shortest_paths_from

Task = TypeVar("Task")

_SEED = 20
_EDGES_A_NODE = 1.4
_LONG_EDGES_A_NODE = 0.04

_REPEATS = {1_000: 2_000, 10_000: 300, 100_000: 60}
_ROOTS = 10
_WITHIN = 1.3

_K = 4
_PAIRS = {1_000: 40, 10_000: 12}
_YEN_REPEATS = 3
_EQUAL_TO = 1e-9


@dataclass(frozen=True, slots=True)
class Network:
    """One network twice: as ours, and as the matrix that scipy takes without converting it."""

    topology: Topology
    matrix: csr_array[np.float64]
    names: tuple[str, ...]


def dijkstra_one_source() -> Iterator[Figure]:
    """Distances and tree links from one source, as a multiple of scipy's time for distances and predecessors."""
    for n_nodes, repeats in _REPEATS.items():
        network = geometric_network(n_nodes)
        roots = np.random.default_rng(_SEED).integers(0, n_nodes, _ROOTS).tolist()
        for root in roots:
            _check_tree(network, root)
        tasks = [roots[repeat % _ROOTS] for repeat in range(repeats)]
        times = _interleaved(partial(_our_tree, network), partial(_their_tree, network), tasks)
        ties = _interleaved(partial(_our_hops, network), partial(_their_tree, network), tasks[: repeats // 4])
        note(
            f"dijkstra_{n_nodes}: ours_ms={times.ours_s * 1e3:.4g} scipy_ms={times.peer_s * 1e3:.4g} "
            f"ours_where_all_weights_are_equal_ms={ties.ours_s * 1e3:.4g}"
        )
        yield Figure(
            name=f"dijkstra_{n_nodes}",
            area="paths",
            value=times.ratio,
            unit="x",
            better=Better.LESS,
            target=_WITHIN,
        )


def yen_k4() -> Iterator[Figure]:
    """Four shortest loopless paths of a pair, with the paths; the peer gives them as predecessors."""
    for n_nodes, n_pairs in _PAIRS.items():
        network = geometric_network(n_nodes)
        nodes = np.random.default_rng(_SEED).permutation(n_nodes)[: 2 * n_pairs]
        pairs = [(int(src), int(dst)) for src, dst in nodes.reshape(n_pairs, 2)]
        _check_lengths(network, pairs[:2])
        tasks = pairs * _YEN_REPEATS
        times = _interleaved(partial(_our_paths, network), partial(_their_paths, network), tasks)
        yield Figure(
            name=f"yen_k4_{n_nodes}",
            area="paths",
            value=times.ours_s * 1e3,
            unit="ms",
            better=Better.LESS,
            target=times.peer_s * 1e3,
            peer="scipy.sparse.csgraph.yen",
            peer_value=times.peer_s * 1e3,
        )


def geometric_network(n_nodes: int) -> Network:
    """A connected random network: nodes in a unit square, short edges and few long ones, 2.8 links a node.

    Nodes come in rounds, each joined to the nearest of the rounds before; then near and a few far ones are
    joined at random. An edge is a link either way; its latency is its length.
    """
    random = np.random.default_rng([_SEED, n_nodes])
    places = random.random((n_nodes, 2))
    edges: set[tuple[int, int]] = set()
    first = 1
    while first < n_nodes:
        last = min(2 * first, n_nodes)
        nearest = np.asarray(KDTree(places[:first]).query(places[first:last])[1])
        edges.update(zip(nearest.tolist(), range(first, last), strict=True))
        first = last
    near = np.asarray(KDTree(places).query(places, k=4)[1])
    while len(edges) < (_EDGES_A_NODE - _LONG_EDGES_A_NODE) * n_nodes:
        node = int(random.integers(n_nodes))
        other = int(near[node, random.integers(1, 4)])
        edges.add((min(node, other), max(node, other)))
    while len(edges) < _EDGES_A_NODE * n_nodes:
        node, other = random.integers(0, n_nodes, 2).tolist()
        edges.update({(min(node, other), max(node, other))} if node != other else ())
    ends = np.array(sorted(edges))
    lengths = np.hypot(*(places[ends[:, 0]] - places[ends[:, 1]]).T)
    return _both(n_nodes, np.concatenate((ends, ends[:, ::-1])), np.concatenate((lengths, lengths)))


def _both(n_nodes: int, ends: IndexArray, lengths: FloatArray) -> Network:
    topology = Topology()
    for number in range(n_nodes):
        topology.add_node(f"n{number}")
    names = topology.node_names
    for (src, dst), length in zip(ends.tolist(), lengths.tolist(), strict=True):
        topology.add_link(names[src], names[dst], capacity_mbps=1, latency_ms=length)
    coordinates = ends[:, 0].astype(np.int32), ends[:, 1].astype(np.int32)
    return Network(topology, csr_array((lengths, coordinates), shape=(n_nodes, n_nodes)), names)


def _our_tree(network: Network, root: int) -> PathTree:
    return shortest_paths_from(network.topology, network.names[root])


def _our_hops(network: Network, root: int) -> PathTree:
    return shortest_paths_from(network.topology, network.names[root], "hops")


def _their_tree(network: Network, root: int) -> tuple[FloatArray, NDArray[np.int32]]:
    found: tuple[FloatArray, NDArray[np.int32]] = dijkstra(
        network.matrix,
        indices=root,  # type: ignore[call-overload]  # the stubs do not know that one number will do
        return_predecessors=True,
    )
    return found


def _our_paths(network: Network, pair: tuple[int, int]) -> tuple[Path, ...]:
    return k_shortest_paths(network.topology, network.names[pair[0]], network.names[pair[1]], _K)


def _their_paths(network: Network, pair: tuple[int, int]) -> tuple[FloatArray, NDArray[np.int32]]:
    return yen(network.matrix, pair[0], pair[1], _K, return_predecessors=True)


@dataclass(frozen=True, slots=True)
class Times:
    """Medians in seconds, and the median of the ratios within the pairs.

    A pair is over in a moment: what else runs on the machine slows both halves of it down, and the ratio stays.
    """

    ours_s: float
    peer_s: float
    ratio: float


def _interleaved(ours: Callable[[Task], object], peer: Callable[[Task], object], tasks: Sequence[Task]) -> Times:
    """Time both on each task; they take turns at being first, as the second finds warm caches."""
    pairs: list[tuple[float, float]] = []
    for turn, task in enumerate(tasks):
        if turn % 2:
            ours_s, peer_s = _seconds(ours, task), _seconds(peer, task)
        else:
            peer_s, ours_s = _seconds(peer, task), _seconds(ours, task)
        pairs.append((ours_s, peer_s))
    ratio = median(ours_s / peer_s for ours_s, peer_s in pairs)
    return Times(median(pair[0] for pair in pairs), median(pair[1] for pair in pairs), ratio)


def _seconds(find: Callable[[Task], object], task: Task) -> float:
    start_s = time.perf_counter()
    find(task)
    return time.perf_counter() - start_s


def _check_tree(network: Network, root: int) -> None:
    """Without ties both trees must be the same."""
    tree = _our_tree(network, root)
    distances, predecessors = _their_tree(network, root)
    sources, _ = network.topology.ends()
    before = np.where(tree.link == NO_LINK, predecessors[root], sources[tree.link])
    if not (np.array_equal(tree.distance, distances) and np.array_equal(before, predecessors)):
        raise MeasurementFailed(f"our tree from node {root} of {len(network.names)} is not scipy's")


def _check_lengths(network: Network, pairs: Sequence[tuple[int, int]]) -> None:
    """A faster search that finds other paths would be no faster search."""
    graph = networkx.DiGraph(to_networkx(network.topology))
    for pair in pairs:
        src, dst = (network.names[node] for node in pair)
        paths = islice(networkx.shortest_simple_paths(graph, src, dst, "latency_ms"), _K)
        peers = [networkx.path_weight(graph, path, "latency_ms") for path in paths]
        ours = [path.weight for path in _our_paths(network, pair)]
        if not np.allclose(ours, peers, rtol=_EQUAL_TO, atol=0):
            raise MeasurementFailed(f"from {src} to {dst}: our lengths are {ours}, networkx has {peers}")
