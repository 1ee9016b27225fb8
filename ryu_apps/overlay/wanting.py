"""From what a site shall have, and what the others have said of their ends, to the message it is told by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from stitching.overlay.segmenting import SiteFilters
from stitching.overlay.site_plan import ClassMatch, PlannedClass, SitePlan, TunnelEnd
from stitching.overlay.sites import Prefix
from stitching.policy.document import BETWEEN
from vte_agent.protocol.base import PrefixList, PublicKey
from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import (
    CLASS_NUMBERS,
    Endpoint,
    Liveness,
    Match,
    Wanted,
    WantedClass,
    WantedLink,
    WantedRoute,
    WantedTunnel,
)


@dataclass(frozen=True)
class FarEnd:
    """What a site has said of its end of a tunnel: its key, signed by it, and the port where it listens."""

    key: Signed | None
    port: int | None


LINKS_RULE = "(links)"
"""The name under which is counted what links between bridges carry."""

_UDP = 17

FarEnds = Mapping[tuple[int, str], FarEnd]
"""By serial and name of the tunnel."""


@dataclass(frozen=True)
class Made:
    """All that a message is made of: the plan, for its tunnels to members member and other end; filters.

    A later roll by itself is no news: the channel brings it to everybody ahead of all else. One that names other
    controllers (`followed`) is: what was refused for that has to come again.
    """

    plan: SitePlan
    roll: Signed = field(compare=False)
    followed: tuple[PublicKey, ...]
    ends: tuple[tuple[TunnelEnd, Signed, FarEnd | None], ...]
    filters: SiteFilters | None = None


@dataclass(frozen=True)
class Told:
    """What a site was told last: of what its message was made, and the number it had."""

    generation: int
    made_of: Made

    @property
    def serial(self) -> int:
        """Of the site."""
        return self.made_of.plan.serial


def ingredients(
    plan: SitePlan,
    roll: Signed,
    followed: tuple[PublicKey, ...],
    members: Mapping[int, Signed],
    far_ends: FarEnds,
    filters: SiteFilters | None = None,
) -> Made:
    """What the message for a site is made of now. Tunnels to those who are no members are left out."""
    return Made(
        plan,
        roll,
        followed,
        tuple(
            (end, members[end.peer], far_ends.get((end.peer, end.name)))
            for end in plan.tunnels
            if end.peer in members
        ),
        filters,
    )


def wanted_of(told: Told) -> Wanted:
    """The message. It is made whenever it is sent: a site among a thousand has as many routes to keep."""
    made = told.made_of
    peers = {end.peer: member for end, member, _ in made.ends}
    return Wanted(
        generation=told.generation,
        serial=made.plan.serial,
        roll=made.roll,
        peers=tuple(peers[serial] for serial in sorted(peers)),
        tunnels=tuple(_tunnel(end, far) for end, _, far in made.ends),
        classes=tuple(_class(one) for one in made.plan.classes),
        routes=tuple(_routes(made)),
        filters=with_links(filters_of(made.filters), made.plan.anchors) if made.filters is not None else None,
        links=tuple(
            WantedLink(name=one.name, vni=one.vni, local=one.local, remote=one.remote) for one in made.plan.links
        ),
    )


def _routes(made: Made) -> Iterator[WantedRoute]:
    names = {end.name for end, _, _ in made.ends}
    for group in made.plan.routes:
        tunnels = tuple(name for name in group.tunnels if name in names)
        if tunnels:
            behind = PrefixList.spelled(group.behind, group.behind.text)
            yield WantedRoute(prefixes=behind, tunnels=tunnels, class_name=group.class_name)


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


def with_links(filters: Filters, anchors: tuple[Prefix, ...]) -> Filters:
    """The same for one who passes on links of others: what is in them the switches at their ends judge."""
    if not anchors:
        return filters
    number = max((standing.id for standing in filters.standings), default=-1) + 1
    # By the protocol alone: a packet may come in pieces, of which only the first has ports.
    through = Pattern(rule=LINKS_RULE, allow=True, protocol=_UDP)
    return Filters(
        standings=(*filters.standings, Standing(id=number, prefixes=anchors)),
        pairs=(*filters.pairs, Pair(source=number, target=number, patterns=(through,))),
    )


def filters_of(filters: SiteFilters) -> Filters:
    """What a site lets through. That nothing passes between two virtual networks is not said: it is so anyway."""
    return Filters(
        standings=tuple(Standing(id=block.number, prefixes=block.prefixes) for block in filters.blocks),
        pairs=tuple(
            Pair(
                source=between.source,
                target=between.target,
                patterns=tuple(
                    Pattern(
                        rule=one.rule, allow=one.allowed, protocol=one.protocol, ports=one.ports, reply=one.reply
                    )
                    for one in between.patterns
                    if one.rule != BETWEEN
                ),
            )
            for between in filters.pairs
        ),
    )


@lru_cache(CLASS_NUMBERS)
def _class(planned: PlannedClass) -> WantedClass:
    return WantedClass(
        name=planned.name, number=planned.number, matches=tuple(_match(one) for one in planned.matches)
    )


def _match(one: ClassMatch) -> Match:
    return Match(
        source=one.source, destination=one.destination, protocol=one.protocol, ports=one.ports, dscp=one.dscp
    )
