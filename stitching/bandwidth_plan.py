"""How a cap is split among the switches where hosts send, and on which links a guarantee is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from stitching.bandwidth import BandwidthRequest, BandwidthShares, Place, Share
from stitching.damage import Damage
from stitching.network import Host, LinkKey, link_name
from stitching.plan import NotPossible, Situation

Pair = tuple[str, str]

FLOOR = 0.1
"""The share of an equal part that a switch keeps whose hosts are silent, so that they can begin."""

SHORT = 0.9
"""A switch whose hosts send this much of its share may need more."""

WORTH = 1.1
"""Meters are changed for a switch that is short if it gets this many times its share, and else left alone."""


def plan_bandwidth(
    request: BandwidthRequest, situation: Situation, before: BandwidthShares | None
) -> BandwidthShares:
    """The links the demands cross now and, for a cap, its shares. Raises NotPossible."""
    links, senders, receivers = _used(request, situation)
    if not senders:
        raise NotPossible("destination", _nobody(request), "let hosts of both send, and join their networks")
    if request.guarantee_mbps is None:
        links = ()
    for key in links:
        link = situation.network.links.get(key)
        free = 0.0 if link is None or link.capacity_mbps is None else situation.resources.free(key)
        if free < request.bandwidth_mbps:
            raise NotPossible(
                "guarantee_mbps",
                f"link {link_name(key)}, which their packets cross, has "
                f"{free:.4g} Mbit/s free, and {request.bandwidth_mbps:g} are wanted",
                "ask for less, or free capacity",
            )
    mark = before.mark if before is not None and links else 0
    placed = BandwidthShares(links, senders, receivers, mark=mark)
    if request.cap_mbps is None:
        return placed
    demand = demand_by_switch(placed, situation.demand_mbps)
    meter = before.meter if before is not None else 0
    return replace(placed, shares=split(request.cap_mbps, demand), meter=meter)


def missing_hosts(request: BandwidthRequest, situation: Situation) -> str | None:
    """What it waits for: hosts that may send to each other."""
    return None if _used(request, situation)[1] else _nobody(request)


def bandwidth_damage(request: BandwidthRequest, placed: BandwidthShares, now: Situation) -> Damage | None:
    """Whether demands cross other links than they did, or come from other hosts."""
    links, senders, receivers = _used(request, now)
    if not senders:
        return Damage(_nobody(request), path_gone=True, lost=True)
    if (senders, receivers) != (placed.senders, placed.receivers):
        return Damage("hosts have come, gone or moved")
    moved = request.guarantee_mbps is not None and links != placed.links
    return Damage("traffic takes other links now") if moved else None


def demand_by_switch(placed: BandwidthShares, demand_mbps: Mapping[Pair, float]) -> dict[int, float]:
    """What the hosts at each switch send, in Mbit/s."""
    demand = {sender.dpid: 0.0 for sender in placed.senders}
    for one, other in placed.pairs():
        demand[one.dpid] += demand_mbps.get((one.mac, other.mac), 0.0)
    return demand


def split(cap_mbps: float, demand_mbps: Mapping[int, float]) -> tuple[Share, ...]:
    """Shares that add up to the cap: a little for all, then who wants least first, the rest by what they send."""
    equal = cap_mbps / len(demand_mbps)
    shares = dict.fromkeys(demand_mbps, FLOOR * equal)
    left = cap_mbps - sum(shares.values())
    waiting = sorted(demand_mbps, key=lambda dpid: (demand_mbps[dpid], dpid))
    for place, dpid in enumerate(waiting):
        part = min(max(0.0, demand_mbps[dpid] - shares[dpid]), left / (len(waiting) - place))
        shares[dpid] += part
        left -= part
    # A sender that adapts to what it gets, as TCP does, asks for more only when there is more.
    total = sum(demand_mbps.values())
    parts = {dpid: demand_mbps[dpid] / total if total else 1 / len(shares) for dpid in shares}
    return tuple(Share(dpid, shares[dpid] + left * parts[dpid]) for dpid in sorted(shares))


def split_again(
    request: BandwidthRequest, placed: BandwidthShares, demand_mbps: Mapping[Pair, float]
) -> BandwidthShares | None:
    """Other shares, where a switch is short and would get noticeably more; None where they may stay."""
    if request.cap_mbps is None or len(placed.shares) < 2:
        return None
    demand = demand_by_switch(placed, demand_mbps)
    shares = split(request.cap_mbps, demand)
    has = {share.dpid: share.mbps for share in placed.shares}
    short = (
        demand[share.dpid] >= SHORT * has.get(share.dpid, 0.0) and share.mbps >= WORTH * has.get(share.dpid, 0.0)
        for share in shares
    )
    return replace(placed, shares=shares) if any(short) else None


def _used(
    request: BandwidthRequest, situation: Situation
) -> tuple[tuple[LinkKey, ...], tuple[Place, ...], tuple[Place, ...]]:
    """The links that the demands cross, and who sends and receives; nobody where none may send to another."""
    by_vnet: dict[str, list[Host]] = defaultdict(list)
    for host in situation.network.hosts.values():
        by_vnet[situation.directory.vnet_of(host)].append(host)
    routes = situation.routes()
    links: set[LinkKey] = set()
    sides: tuple[set[Place], set[Place]] = (set(), set())
    for one in by_vnet.get(request.source_vnet, ()):
        for other in by_vnet.get(request.target_vnet, ()):
            route = routes.get((one.mac, other.mac))
            if route is not None and one.mac != other.mac:
                links.update(route)
                sides[0].add(Place(one.mac, one.dpid))
                sides[1].add(Place(other.mac, other.dpid))
    senders, receivers = (tuple(sorted(side, key=lambda place: place.mac)) for side in sides)
    return tuple(sorted(links)), senders, receivers


def _nobody(request: BandwidthRequest) -> str:
    if request.source_vnet == request.target_vnet:
        return f"waits for two hosts of {request.source_vnet!r}"
    return f"waits until hosts of {request.source_vnet!r} may send to hosts of {request.target_vnet!r}"
