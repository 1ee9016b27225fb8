"""From what a site shall have, and what the others have said of their ends, to the message it is told by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stitching.overlay.site_plan import ClassMatch, PlannedClass, SitePlan, TunnelEnd
from vte_agent.protocol.filters import Filters
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import (
    Endpoint,
    Liveness,
    Match,
    Transport,
    Wanted,
    WantedClass,
    WantedRoute,
    WantedTunnel,
)


@dataclass(frozen=True)
class FarEnd:
    """What a site has said of its end of a tunnel: its key, signed by it, and the port where it listens."""

    key: Signed | None
    port: int | None


FarEnds = Mapping[tuple[int, str], FarEnd]
"""By serial and name of the tunnel."""


@dataclass(frozen=True)
class Made:
    """All that a message is made of: the plan, and for its tunnels to members the member and the other end."""

    plan: SitePlan
    roll: Signed
    ends: tuple[tuple[TunnelEnd, Signed, FarEnd | None], ...]


def ingredients(plan: SitePlan, roll: Signed, members: Mapping[int, Signed], far_ends: FarEnds) -> Made:
    """What the message for a site is made of now. Tunnels to those who are no members are left out."""
    return Made(
        plan,
        roll,
        tuple(
            (end, members[end.peer], far_ends.get((end.peer, end.name)))
            for end in plan.tunnels
            if end.peer in members
        ),
    )


def wanted_of(made: Made, generation: int, filters: Filters | None = None) -> Wanted:
    """The message."""
    names = {end.name for end, _, _ in made.ends}
    peers = {end.peer: member for end, member, _ in made.ends}
    routes = []
    for group in made.plan.routes:
        tunnels = tuple(name for name in group.tunnels if name in names)
        if tunnels:
            routes += [
                WantedRoute(prefix=one.prefix, tunnels=tunnels, class_name=group.class_name, watch=one.watch)
                for one in group.behind
            ]
    return Wanted(
        generation=generation,
        serial=made.plan.serial,
        roll=made.roll,
        peers=tuple(peers[serial] for serial in sorted(peers)),
        tunnels=tuple(_tunnel(end, far) for end, _, far in made.ends),
        classes=tuple(_class(one) for one in made.plan.classes),
        routes=tuple(routes),
        filters=filters,
    )


def _tunnel(end: TunnelEnd, far: FarEnd | None) -> WantedTunnel:
    endpoint = None
    if end.remote is not None and far is not None and far.port is not None:
        endpoint = Endpoint(address=end.remote, port=far.port)
    return WantedTunnel(
        name=end.name,
        peer=end.peer,
        transport=Transport(end.transport),
        uplink=end.uplink,
        address=end.address,
        peer_address=end.peer_address,
        endpoint=endpoint,
        peer_key=far.key if far is not None else None,
        mtu=end.spec.mtu,
        liveness=Liveness(interval_ms=end.spec.interval_ms, multiplier=end.spec.multiplier),
    )


def _class(planned: PlannedClass) -> WantedClass:
    return WantedClass(
        name=planned.name, number=planned.number, matches=tuple(_match(one) for one in planned.matches)
    )


def _match(one: ClassMatch) -> Match:
    return Match(
        source=one.source, destination=one.destination, protocol=one.protocol, ports=one.ports, dscp=one.dscp
    )
