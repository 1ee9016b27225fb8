"""The ways there are between two sites: straight, or across one or two that pass on; the best few of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from pathing import NoPath, Topology, k_shortest_paths
from pathing.weights import charge_unknown
from stitching.overlay.measures import UNMEASURED, Measured
from stitching.overlay.scoring import Hop

MOST_HOPS = 3
_LOSS_MS = 1000.0
_LONGEST_MS = 1e6


@dataclass(frozen=True, slots=True)
class TunnelView:
    """A tunnel to choose by: `measured` as end a sees it, `price` of a gigabyte over both uplinks."""

    name: str
    a: int
    b: int
    measured: Measured = UNMEASURED
    price: float = 0.0
    capacity_mbps: float | None = None
    up: bool = True


class Graph:
    """The tunnels as a `Topology`: a node for each site (its serial), two links for each tunnel."""

    def __init__(self, tunnels: Iterable[TunnelView], transit: Collection[int]) -> None:
        self.transit = frozenset(transit)
        self.topology = Topology()
        self.hops: list[Hop] = []
        self._known: set[str] = set()
        for tunnel in tunnels:
            for src, dst, measured in (
                (tunnel.a, tunnel.b, tunnel.measured),
                (tunnel.b, tunnel.a, tunnel.measured.turned()),
            ):
                self._add(tunnel, src, dst, measured)
        n_links = len(self.hops)
        self._src = np.fromiter((hop.src for hop in self.hops), np.int64, n_links)
        self._dst = np.fromiter((hop.dst for hop in self.hops), np.int64, n_links)
        passing = np.fromiter(self.transit, np.int64, len(self.transit))
        self._from_transit, self._to_transit = np.isin(self._src, passing), np.isin(self._dst, passing)
        known = charge_unknown(self.topology.array("latency_ms"))
        # In milliseconds: what is lost has to be sent again. Down ones come last, and are candidates all the same.
        up = np.fromiter((hop.up for hop in self.hops), np.bool_, n_links)
        self._weight = known - _LOSS_MS * np.log1p(-self.topology.array("loss")) + np.where(up, 0.0, _LONGEST_MS)

    def ways(self, src: int, dst: int, k: int = 6) -> tuple[tuple[Hop, ...], ...]:
        """Up to `k` ways from one site to another and every straight one, by delay and loss."""
        between = [hop for hop in self.hops_from(src) if hop.dst == dst]
        straight: dict[tuple[str, ...], tuple[Hop, ...]] = {(hop.tunnel,): (hop,) for hop in between}
        if not {str(src), str(dst)} <= self._known:
            return ()
        usable = (self._from_transit | (self._src == src)) & (self._to_transit | (self._dst == dst))
        weight = np.where(usable & (self._dst != src) & (self._src != dst), self._weight, np.inf)
        try:
            paths = k_shortest_paths(self.topology, str(src), str(dst), k, weight)
        except NoPath:
            paths = ()
        found: dict[tuple[str, ...], tuple[Hop, ...]] = {
            tuple(self.hops[link].tunnel for link in path.links): tuple(self.hops[link] for link in path.links)
            for path in paths
            if path.hops <= MOST_HOPS
        }
        found.update(straight)
        return tuple(found.values())

    def hops_from(self, src: int) -> tuple[Hop, ...]:
        """All tunnels that leave a site."""
        if str(src) not in self._known:
            return ()
        return tuple(self.hops[link.id] for link in self.topology.out_links(str(src)))

    def _add(self, tunnel: TunnelView, src: int, dst: int, measured: Measured) -> None:
        for serial in (src, dst):
            if str(serial) not in self._known:
                self.topology.add_node(str(serial))
                self._known.add(str(serial))
        self.topology.add_link(
            str(src),
            str(dst),
            capacity_mbps=tunnel.capacity_mbps or 1.0,
            latency_ms=None if measured.rtt_ms is None else measured.rtt_ms / 2,
            loss=min(measured.loss_out or 0.0, 0.999),
            cost=tunnel.price,
            encrypted=True,
            up=True,
        )
        self.hops.append(Hop(tunnel.name, src, dst, measured, tunnel.price, tunnel.up))
