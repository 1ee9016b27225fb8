"""Which sites can talk over which pairs of tunnels, and how many ways apart there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pathing import NoPath, Topology, disjoint_paths
from stitching.overlay.sites import Pair
from stitching.overlay.tunnels import Line


class Reach:
    """Who has tunnels with whom, where only some pass on what others send each other: one or two of these.

    Pairs can be taken out; everything else is as it was told at first.
    """

    def __init__(self, pairs: Iterable[Pair], transit: Collection[int]) -> None:
        self.transit = frozenset(transit)
        self._with: dict[int, set[int]] = {}
        for one, other in pairs:
            self._with.setdefault(one, set()).add(other)
            self._with.setdefault(other, set()).add(one)

    def remove(self, pair: Pair) -> None:
        """Take a pair out."""
        one, other = pair
        self._with.get(one, set()).discard(other)
        self._with.get(other, set()).discard(one)

    def add(self, pair: Pair) -> None:
        """Put a pair in."""
        one, other = pair
        self._with.setdefault(one, set()).add(other)
        self._with.setdefault(other, set()).add(one)

    def has(self, pair: Pair) -> bool:
        """Whether a pair is in."""
        return pair[1] in self._with.get(pair[0], ())

    def of(self, serial: int) -> frozenset[int]:
        """Everyone a site has a tunnel with."""
        return frozenset(self._with.get(serial, ()))

    def talk(self, one: int, other: int) -> bool:
        """Whether two sites reach each other: directly, or across one or two that pass on."""
        near, far = self._with.get(one, set()), self._with.get(other, set())
        if other in near:
            return True
        first, last = near & self.transit, far & self.transit
        return bool(first & last) or any(self._with[relay] & last for relay in first)

    def all_from(self, serial: int) -> frozenset[int]:
        """Everyone a site can talk to."""
        near = self._with.get(serial, set())
        relays = near & self.transit
        second = {far for relay in relays for far in self._with[relay] & self.transit} | relays
        return frozenset(near.union(*(self._with[relay] for relay in second)) - {serial})


def ways_apart(lines: Iterable[Line], transit: Collection[int], one: int, other: int) -> int:
    """How many ways between two sites have neither another site nor an uplink in common: 0, 1 or 2 (and more)."""
    relays = frozenset(transit)
    ends = {one, other}
    topology = Topology()
    for serial in (one, other):
        topology.add_node(str(serial))
    for line in lines:
        if not {line.a, line.b} <= relays | ends:
            continue
        near, far = (_uplink(topology, serial, line.uplink_at(serial), ends) for serial in line.pair)
        for src, dst in ((near, far), (far, near)):
            topology.add_link(src, dst, capacity_mbps=1.0, latency_ms=1.0)
    try:
        return len(disjoint_paths(topology, str(one), str(other), 2, "node", "hops").paths)
    except NoPath as refused:
        return int(refused.nearest or 0) if refused.constraint == "k" else 0


def _uplink(topology: Topology, serial: int, uplink: str, ends: Collection[int]) -> str:
    """The node tunnels end at: an uplink of one of the two sites, or a relay as a whole, which dies as a whole."""
    node = str(serial)
    if serial not in ends:
        if node not in topology.node_names:
            topology.add_node(node)
        return node
    name = f"{serial}/{uplink}"
    if name not in topology.node_names:
        topology.add_node(name)
        for src, dst in ((node, name), (name, node)):
            topology.add_link(src, dst, capacity_mbps=1.0, latency_ms=1.0)
    return name
