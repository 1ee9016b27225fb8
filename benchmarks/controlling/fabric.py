"""Random fabrics for the scale lab."""

from __future__ import annotations

import random

Edge = tuple[int, int]


def connected_graph(n_nodes: int, n_edges: int, seed: int = 1) -> list[Edge]:
    """A random connected graph without parallel edges on the nodes 1..n_nodes. Raises ValueError."""
    if not n_nodes - 1 <= n_edges <= n_nodes * (n_nodes - 1) // 2:
        raise ValueError(f"no connected simple graph has {n_nodes} nodes and {n_edges} edges")
    draw = random.Random(seed)
    edges = {(draw.randrange(1, node), node) for node in range(2, n_nodes + 1)}
    while len(edges) < n_edges:
        a, b = draw.sample(range(1, n_nodes + 1), 2)
        edges.add((min(a, b), max(a, b)))
    return sorted(edges)
