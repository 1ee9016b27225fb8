"""How disjoint paths are found: by a flow of least cost where that answers, by the integer programme otherwise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pathing.csr import FloatArray
from pathing.disjoint_flow import Flow, least_flow, network, paths_of
from pathing.disjoint_model import Bound, Risk, Task
from pathing.disjoint_program import Effort, Solution, solve
from pathing.label_setting.question import ROUNDING, Question
from pathing.shortest import shortest_paths_to
from pathing.topology import Topology
from pathing.weights import WeighedGraph

Apart = Literal["link", "node", "srlg"]
Group = str | int


@dataclass(frozen=True, slots=True)
class Asked:
    """What `disjoint_paths` was asked for."""

    question: Question
    k: int
    by: Apart
    maximally: bool
    effort: Effort

    @property
    def topology(self) -> Topology:
        """Where the paths are to be."""
        return self.question.topology

    @property
    def ends(self) -> tuple[int, int]:
        """Node indexes of the source and the destination."""
        return self.topology.node_index(self.question.src), self.topology.node_index(self.question.dst)


# -- by flow


def by_flow(asked: Asked, flow: Flow) -> Solution | None:
    """Solve it by the flow; None where that is too little, shares a group or misses a constraint."""
    if flow.placed < asked.k:
        return None
    task = task_of(asked)
    paths = paths_of(flow.units, task.tails, task.heads, task.src)
    if not all(task.allows(links) for links in paths) or (asked.by == "srlg" and _share_groups(asked, paths)):
        return None
    return Solution(tuple(paths), math.inf)


def _share_groups(asked: Asked, paths: Iterable[Iterable[int]]) -> bool:
    groups = [set(groups_of(asked.topology, links)) for links in paths]
    return len(set[Group]().union(*groups)) < sum(map(len, groups))


def flow_of(asked: Asked, *, share: bool = False) -> Flow:
    """Give the flow of k units through the links in use, or of as many as there is room for."""
    split = asked.by == "node"
    topology = asked.topology
    net = topology.memo(f"network of disjoint paths, split {split}", lambda: network(topology, split=split))
    return least_flow(net, asked.question.usable_weights(), *asked.ends, asked.k, share=share)


def task_of(asked: Asked) -> Task:
    """Put it in numbers, the risks left out."""
    question = asked.question
    graph = WeighedGraph(asked.topology.structure(), question.usable_weights())
    bounds = tuple(Bound(limit.values, limit.most * (1 + ROUNDING)) for limit in question.limits.values())
    stops = [stop for stops in question.stops.values() for stop in stops]
    nodes = frozenset(stop.entry for stop in stops if stop.link is None)
    links = frozenset(stop.link for stop in stops if stop.link is not None)
    tails, heads = asked.topology.ends()
    src, dst = asked.ends
    return Task(graph, tails, heads, src, dst, asked.k, bounds=bounds, nodes=nodes, links=links)


# -- by the integer programme


def by_programme(asked: Asked) -> Solution | None:
    """Solve it by the integer programme; None where there is no solution. Raises `Undecided`."""
    task = replace(task_of(asked), risks=risks_of(asked))
    flow = flow_of(asked)
    start = one_by_one(asked, task, flow) if flow.placed == asked.k else None
    if start is None and asked.by == "srlg":
        cutting = cutting_groups(asked)
        if cutting and not asked.maximally:
            return None
        task = replace(task, taken=frozenset(cutting.values()))
    if start is None and asked.maximally:
        start = _sharing_little(asked, task)
        task = replace(task, share=True)
    solution = solve(task, asked.effort, start)
    if solution is None:
        return None
    proven = solution.lower_bound
    if not task.share:
        weights = task.graph.by_link
        proven = max(proven, math.fsum(float(weights[link]) for link in flow.units.elements()))
    return replace(solution, lower_bound=proven)


def cutting_groups(asked: Asked) -> dict[Group, tuple[int, ...]]:
    """Give the groups, with their links, that every way uses: they are on the shortest one. None for one path."""
    if asked.k == 1:
        return {}
    weights = asked.question.usable_weights()
    cutting = {}
    for group in dict.fromkeys(groups_of(asked.topology, shortest_links(asked, weights))):
        links = tuple(link.id for link in asked.topology.links() if group in link.srlg)
        left = weights.copy()
        left[list(links)] = np.inf
        if not shortest_links(asked, left):
            cutting[group] = links
    return cutting


def risks_of(asked: Asked) -> tuple[Risk, ...]:
    """Give what one path at most may use."""
    topology = asked.topology
    if asked.k == 1:
        return ()
    if asked.by == "srlg":
        return topology.memo("srlg", lambda: tuple(_shared_risks(topology)))
    links = [Risk((link,), tier=1) for link in range(topology.n_links)]
    if asked.by == "link":
        return tuple(links)
    entering: dict[int, list[int]] = defaultdict(list)
    for link, head in enumerate(topology.ends()[1].tolist()):
        entering[head].append(link)
    return (*(Risk(tuple(entering[node])) for node in entering if node not in asked.ends), *links)


def _shared_risks(topology: Topology) -> Iterator[Risk]:
    groups: dict[Group, list[int]] = defaultdict(list)
    for link in topology.links():
        for group in dict.fromkeys(link.srlg):
            groups[group].append(link.id)
        if not link.srlg:
            yield Risk((link.id,))
    yield from (Risk(tuple(links)) for links in groups.values())


def one_by_one(asked: Asked, task: Task, flow: Flow) -> list[tuple[int, ...]] | None:
    """Give the lightest paths met by starting from one of the flow and taking what is shortest beside it."""
    weights = task.graph.by_link
    taking: dict[int, list[Risk]] = defaultdict(list)
    for risk in task.risks:
        for link in risk.links:
            taking[link].append(risk)
    best: tuple[float, list[tuple[int, ...]]] | None = None
    for links in paths_of(flow.units, task.tails, task.heads, task.src):
        left, paths = weights.copy(), [links]
        while len(paths) < task.k and links:
            for risk in {risk for link in links for risk in taking[link]}:
                left[list(risk.links)] = np.inf
            links = shortest_links(asked, left)
            paths.append(links)
        total = math.fsum(float(weights[link]) for links in paths for link in links)
        if all(links and task.allows(links) for links in paths) and (best is None or total < best[0]):
            best = total, paths
    return best and best[1]


def _sharing_little(asked: Asked, task: Task) -> list[tuple[int, ...]] | None:
    """Give short paths of which each shuns what others use, to begin with; None if they miss a constraint."""
    lengths = task.graph.by_link.copy()
    # More than any path that shuns weighs.
    penalty = float(lengths[np.isfinite(lengths)].sum()) or 1.0
    paths = []
    for _ in range(task.k):
        links = shortest_links(asked, lengths)
        paths.append(links)
        for risk in task.risks:
            if not set(links).isdisjoint(risk.links):
                lengths[list(risk.links)] += penalty
    return paths if all(task.allows(links) for links in paths) else None


def shortest_links(asked: Asked, weights: FloatArray) -> tuple[int, ...]:
    """Give the links of the shortest path, none where there is none."""
    tree = shortest_paths_to(asked.topology, asked.question.dst, weights)
    there = math.isfinite(tree.distance[asked.ends[0]])
    return tree.path(asked.question.src).links if there else ()


def groups_of(topology: Topology, links: Iterable[int]) -> list[Group]:
    """Give the shared-risk groups of links, some more than once."""
    return [group for link in links for group in topology.link(link).srlg]
