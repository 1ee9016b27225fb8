"""Ways round every link, or every switch, of a segment's tree: what makes it survive without a controller.

They are local, as the bypass tunnels of RFC 4090: the switch before a link that died sends packets round it, to
where they go on along the tree. A packet only ever gets further on its tree: nothing circles, whatever dies. Where
switches may die, packets go round the switch behind the link to each of its other neighbours on the tree, and to
itself for its own members: whether the link or the switch has died need not be known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from pathing import PathTree, shortest_paths_to
from stitching.network import LinkKey, PortId, node_name, reverse
from stitching.plan import NotPossible
from stitching.segment import Detour, SegmentRequest, SegmentTree, ports_of
from stitching.segment_growing import Floats, Growing
from stitching.terms import Protection

MOST_DETOURS = 2000
"""More are not looked for: a switch with 44 neighbours on the tree has as many."""

_ROUNDING_MBPS = 1e-6

Wire = frozenset[PortId]


@dataclass(frozen=True, slots=True)
class _Need:
    """A way that is needed: round this link to its end or, round the switch there too, to one behind it."""

    around: LinkKey
    end: int
    only_here: bool

    @property
    def switch(self) -> int | None:
        """The switch that it has to go round."""
        return None if self.end == self.around[2] else self.around[2]

    @property
    def deaths(self) -> tuple[Wire | int, ...]:
        """What may have died when it is used: the link or, if it goes round that, the switch."""
        wire = frozenset({self.around[:2], self.around[2:]})
        return (wire,) if self.switch is None else (wire, self.switch)


def plan_detours(
    request: SegmentRequest, tree: SegmentTree, growing: Growing, before: SegmentTree | None
) -> tuple[Detour, ...]:
    """The detours of a tree, those that it had before where they still do; none where it is not to be protected.

    Raises NotPossible naming the link or switch that there is no way round.
    """
    needs = tuple(_needs(request.protection, tree))
    if len(needs) > MOST_DETOURS:
        raise NotPossible(
            "protection",
            f"it would take {len(needs)} detours, and {MOST_DETOURS} are the most",
            "ask for protection 'link' or 'none', or for fewer hosts",
        )
    search = _Search(request, tree, growing)
    known = {(detour.around, detour.end): detour.links for detour in (before.detours if before else ())}
    found: dict[_Need, tuple[LinkKey, ...]] = {}
    for need in needs:
        links = known.get((need.around, need.end))
        if links is not None and search.still_does(need, links):
            found[need] = search.take(need, links)
    for need in needs:
        if need not in found:
            found[need] = search.take(need, search.way(need))
    return _coloured(tree, (Detour(need.around, found[need], need.only_here) for need in needs))


def booked(tree: SegmentTree) -> tuple[LinkKey, ...]:
    """The links on which the bandwidth of a segment is promised, as many times as it is.

    Once each way on the tree. On detours as often as it may come when one thing dies: what leaves the tree at one
    switch, or comes back to it at one, is never more than the bandwidth.
    """
    uses = _Uses()
    for detour in tree.detours:
        uses.add(_Need(detour.around, detour.end, detour.only_here), detour.links)
    extra = tuple(key for key, times in sorted(uses.most.items()) for _ in range(times))
    return (*tree.links, *(reverse(key) for key in tree.links), *extra)


def _needs(protection: Protection, tree: SegmentTree) -> Iterator[_Need]:
    if protection is Protection.NONE:
        return
    ports = ports_of(tree.links)
    with_members = {member.dpid for member in tree.members}
    for dpid in sorted(ports):
        for _, key in sorted(ports[dpid].items()):
            beyond = sorted(other[2] for other in ports[key[2]].values() if other != reverse(key))
            if protection is Protection.LINK:
                yield _Need(key, key[2], only_here=False)
                continue
            for end in beyond:
                yield _Need(key, end, only_here=False)
            if key[2] in with_members:
                yield _Need(key, key[2], only_here=bool(beyond))


@dataclass
class _Uses:
    """By what may die and by link: where detours that are used then leave the tree, and where they come back."""

    _by_death: dict[tuple[Wire | int, LinkKey], tuple[set[int], set[int]]] = field(
        default_factory=lambda: defaultdict(lambda: (set(), set()))
    )
    most: Counter[LinkKey] = field(default_factory=Counter)

    def add(self, need: _Need, links: Iterable[LinkKey]) -> None:
        """One more detour."""
        for key in links:
            for death in need.deaths:
                starts, ends = self._by_death[death, key]
                starts.add(need.around[0])
                ends.add(need.end)
                self.most[key] = max(self.most[key], min(len(starts), len(ends)))

    def with_one_more(self, need: _Need, key: LinkKey) -> int:
        """How often a link would be promised to detours if this one came over it."""
        times = self.most[key]
        for death in need.deaths:
            starts, ends = self._by_death.get((death, key), (set(), set()))
            times = max(times, min(len(starts | {need.around[0]}), len(ends | {need.end})))
        return times


class _Search:
    """Finds ways round parts of a tree on links with room for what the tree and all detours may bring."""

    def __init__(self, request: SegmentRequest, tree: SegmentTree, growing: Growing) -> None:
        self._mbps = request.bandwidth_mbps
        self._growing = growing
        self._uses = _Uses()
        self._on_tree = Counter(key for one in tree.links for key in (one, reverse(one)))
        order = growing.network.link_order
        self._row = {key: row for row, key in enumerate(order)}
        self._ends = np.array([(key[0], key[2]) for key in order], dtype=np.uint64).reshape(-1, 2)
        self._trees: dict[tuple[int, int | LinkKey], PathTree] = {}

    def take(self, need: _Need, links: tuple[LinkKey, ...]) -> tuple[LinkKey, ...]:
        """Take a way."""
        self._uses.add(need, links)
        return links

    def still_does(self, need: _Need, links: tuple[LinkKey, ...]) -> bool:
        """Whether a way that was there before is there, and has room."""
        cost = self._growing.plain_cost
        there = all(key in self._row and np.isfinite(cost[self._row[key]]) for key in links)
        return there and not self._full(need, links)

    def way(self, need: _Need) -> tuple[LinkKey, ...]:
        """The cheapest way that has room. Raises NotPossible."""
        known = (need.end, need.around if need.switch is None else need.switch)
        if known not in self._trees:
            self._trees[known] = self._tree(need, self._growing.plain_cost)
        links = self._path(self._trees[known], need.around[0])
        weight = self._growing.plain_cost
        while links is not None and (full := self._full(need, links)):
            weight = weight.copy()
            weight[[self._row[key] for key in full]] = np.inf
            links = self._path(self._tree(need, weight), need.around[0])
        if links is None:
            raise self._no_way(need)
        return links

    def _tree(self, need: _Need, weight: Floats) -> PathTree:
        """The ways to the end of a detour, none of them by what it goes round."""
        weight = weight.copy()
        if need.switch is None:
            weight[self._growing.rows(need.around)] = np.inf
        else:
            weight[(self._ends == need.switch).any(axis=1)] = np.inf
        return shortest_paths_to(self._growing.topology, node_name(need.end), weight)

    def _path(self, tree: PathTree, dpid: int) -> tuple[LinkKey, ...] | None:
        links = []
        while node_name(dpid) != tree.root:
            link = int(tree.link[self._growing.index(dpid)])
            if link < 0:
                return None
            links.append(self._growing.network.link_order[link])
            dpid = links[-1][2]
        return tuple(links)

    def _full(self, need: _Need, links: tuple[LinkKey, ...]) -> list[LinkKey]:
        """Those of these links that have too little room."""
        return [
            key
            for key in links
            if (self._on_tree[key] + self._uses.with_one_more(need, key)) * self._mbps
            > self._growing.free_mbps[self._row[key]] + _ROUNDING_MBPS
        ]

    def _no_way(self, need: _Need) -> NotPossible:
        """Nothing leads round it, or nothing with room."""
        one, one_port, other, other_port = need.around
        link = f"link {one:016x}:{one_port} to {other:016x}:{other_port}"
        anywhere = np.array([1.0 if reverse(key) in self._row else np.inf for key in self._row])
        leads = self._path(self._tree(need, anywhere), one) is not None
        where = f"switch {other:016x}" if need.switch is not None else link
        if leads:
            return NotPossible(
                "protection",
                f"no way round {where} has {self._mbps:g} Mbit/s free beside what is promised",
                "ask for less bandwidth or protection, or free capacity",
            )
        if need.switch is None:
            return NotPossible(
                "protection",
                f"{link} is all that joins its two sides",
                "add a link beside it, or ask for protection 'none'",
            )
        return NotPossible(
            "protection",
            f"{where} is all that joins switches {one:016x} and {need.end:016x}",
            "add a link round it, or ask for protection 'link' or 'none'",
        )


Step = tuple[int, int]
"""A switch, and the port by which packets of a detour come in."""


def _coloured(tree: SegmentTree, detours: Iterable[Detour]) -> tuple[Detour, ...]:
    """The same, with colours so that no packet meets rules of two: the first that is free for each."""
    colours: list[dict[Step, object]] = []
    coloured = []
    for detour in detours:
        steps = dict(_steps(tree, detour))
        fits = (
            c for c, taken in enumerate(colours) if all(taken.get(at, does) == does for at, does in steps.items())
        )
        colour = next(fits, len(colours))
        if colour == len(colours):
            colours.append({})
        colours[colour].update(steps)
        coloured.append(replace(detour, colour=colour))
    return tuple(coloured)


def _steps(tree: SegmentTree, detour: Detour) -> Iterator[tuple[Step, object]]:
    """What becomes of its packets at each of its switches; at the first one its label tells it from all others."""
    yield (detour.around[0], 0), (detour.around, detour.end)
    for key, following in pairwise(detour.links):
        yield key[2:], following
    yield detour.links[-1][2:], (entering(tree, detour), detour.only_here)


def entering(tree: SegmentTree, detour: Detour) -> int:
    """The port of its last switch by which packets would have come along the tree."""
    if detour.end == detour.around[2]:
        return detour.around[3]
    return next(port for port, key in ports_of(tree.links)[detour.end].items() if key[2] == detour.around[2])
