"""What each site shall have: its ends of tunnels, the classes of its packets, and which way they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stitching.overlay.links import LinkEnd
from stitching.overlay.prefix_sets import NextHops, PrefixSet
from stitching.overlay.sites import Address, Prefix
from stitching.overlay.tunnels import TunnelSpec


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """One end of a tunnel. `remote` is where the outer packets go, None where the other end has to call."""

    name: str
    peer: int
    transport: str
    uplink: str
    local: Address
    remote_uplink: str
    remote: Address | None
    address: Address
    peer_address: Address
    spec: TunnelSpec


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """Packets of an application; what is None may be anything. `ports`: of the destination, first and last."""

    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    ports: tuple[int, int] | None = None
    dscp: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedClass:
    """Packets that go ways of their own; of several classes the first that matches has a packet."""

    name: str
    number: int
    matches: tuple[ClassMatch, ...]


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """Prefixes that are reached the same way: `tunnels`, best first. Without a class it is for packets of none."""

    class_name: str | None
    tunnels: tuple[str, ...]
    behind: PrefixSet


@dataclass(frozen=True)
class SitePlan:
    """All that a site should have. `transit`: it passes on what others send each other.

    `links` are those of its bridge; `anchors` those between which it passes on links of others.
    """

    serial: int
    transit: bool
    owned: tuple[Prefix, ...]
    tunnels: tuple[TunnelEnd, ...] = ()
    classes: tuple[PlannedClass, ...] = ()
    routes: tuple[RouteGroup, ...] = ()
    links: tuple[LinkEnd, ...] = ()
    anchors: tuple[Prefix, ...] = ()

    @cached_property
    def next_hops(self) -> NextHops:
        """By prefix, all sites that packets to it may be sent to next, whatever their class and what is alive."""
        peers = {end.name: end.peer for end in self.tunnels}
        return NextHops(
            [(group.behind, frozenset(peers[name] for name in group.tunnels)) for group in self.routes]
        )


def affected(old: Mapping[int, SitePlan], new: Mapping[int, SitePlan]) -> frozenset[int]:
    """The sites whose plan differs, with those that have one in only one of the two."""
    differs = {serial for serial, plan in new.items() if (was := old.get(serial)) is not plan and was != plan}
    return frozenset(differs | (old.keys() - new.keys()))
