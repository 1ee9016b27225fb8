"""Which nodes some simple path between two nodes can go through, whatever the direction of the links."""

from __future__ import annotations

import numpy as np

from pathing.label_setting.arcs import Arcs, BoolArray


def between(arcs: Arcs) -> BoolArray:
    """Give the arcs that lie on a simple path from start to end if links could be taken either way, (m,).

    These are the ones in one block with a link added between start and end; a dead end, or all that hangs on one
    node, is in another. Hopcroft and Tarjan, "Algorithm 447", Communications of the ACM 16, 1973.
    """
    parents, low = _depth_first(arcs)
    numbers = {node: number for number, node in enumerate(parents)}
    inside = np.zeros(arcs.n_nodes, dtype=np.bool_)
    inside[arcs.start] = True
    for node, parent in parents.items():
        # Nothing below such a node leads past its parent.
        if inside[parent] and (node == arcs.end or (parent != arcs.start and low[node] < numbers[parent])):
            inside[node] = True
    both: BoolArray = inside.take(arcs.tails) & inside.take(arcs.heads)
    return both


def _depth_first(arcs: Arcs) -> tuple[dict[int, int], dict[int, int]]:
    """Walk from the start, over the added link first, depth first: parents and low numbers of the nodes met.

    Both are in the order of meeting, which numbers the nodes; the low number is the least of a node that is
    joined to this one or to one below it other than by the tree.
    """
    neighbours: list[list[int]] = [[] for _ in range(arcs.n_nodes)]
    for tail, head in zip(arcs.tails.tolist(), arcs.head_list, strict=True):
        neighbours[tail].append(head)
        neighbours[head].append(tail)
    neighbours[arcs.start].append(arcs.end)
    parents, numbers, low, trail = {arcs.start: arcs.start}, {arcs.start: 0}, {arcs.start: 0}, [arcs.start]
    while trail:
        node = trail[-1]
        if not neighbours[node]:
            trail.pop()
            low[parents[node]] = min(low[parents[node]], low[node])
            continue
        met = neighbours[node].pop()
        if met in numbers:
            low[node] = min(low[node], numbers[met]) if met != parents[node] else low[node]
        else:
            parents[met] = node
            numbers[met] = low[met] = len(numbers)
            trail.append(met)
    return parents, low
