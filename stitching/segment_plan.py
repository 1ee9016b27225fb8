"""From a segment to its tree: few links that have room, near to the one it had, and fast enough."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from pathing import shortest_paths_from
from stitching.members import Members, members_now, missing_side
from stitching.network import LinkKey, Network, node_name, reverse
from stitching.plan import NotPossible, Situation
from stitching.segment import NO_ROOM, Member, SegmentRequest, SegmentTree, links_towards, ports_of, way_to
from stitching.segment_detours import plan_detours
from stitching.segment_growing import Growing

MOST_ROOTS = 32
"""How many trees of fastest ways are tried where the cheapest one is too slow."""


def plan_segment(request: SegmentRequest, situation: Situation, before: SegmentTree | None) -> SegmentTree:
    """A tree that joins all members that can be joined; who cannot be is left out, with the reason.

    The tree is grown from one switch to the next nearest one (Takahashi and Matsuyama, An approximate solution for
    the Steiner problem in graphs, 1980). Raises NotPossible where no two hosts of different sides can be joined,
    or not fast enough, or where it is to be protected and a link or switch of it has no way round.
    """
    members = members_now(request, situation.network, situation.directory, situation.contested, before)
    if (missing := missing_side(request, members)) is not None:
        if members.left_out:
            raise NotPossible("destination", "; ".join(members.left_out), "give each host an address of its own")
        raise NotPossible("destination", missing, "let a host of it send a packet")
    growing = Growing(request, situation, before)
    joined, members = _joinable(growing, members)
    links = _grow(growing, joined)
    latency_ms = tree_latency(links, members, situation.network)
    most_ms = request.max_latency_ms
    if most_ms is not None and (latency_ms is None or latency_ms > most_ms):
        links, latency_ms = _fastest(growing, joined, members, most_ms)
    ordered = tuple(sorted(min(key, reverse(key)) for key in links))
    tree = SegmentTree(ordered, members.sources, members.targets, latency_ms, left_out=members.left_out)
    return replace(tree, detours=plan_detours(request, tree, growing, before))


def _joinable(growing: Growing, members: Members) -> tuple[list[int], Members]:
    """The switches that can be joined, with as many pairs of hosts as possible, and who is left out."""
    dpids = sorted({member.dpid for member in (*members.sources, *members.targets)})
    best: tuple[int, list[int]] = (0, [])
    seen: set[int] = set()
    for dpid in dpids:
        if dpid in seen:
            continue
        reached = growing.nearest(dpid, ()).distance
        part = [d for d in dpids if np.isfinite(reached[growing.index(d)])]
        seen.update(part)
        pairs = _count(members.sources, part) * _count(members.targets, part)
        if pairs > best[0]:
            best = (pairs, part)
    if not best[0]:
        raise NotPossible(
            "bandwidth_mbps",
            "no links with the bandwidth free lead from any host of one side to one of the other",
            "ask for less bandwidth, free capacity, or add a link",
        )
    part = best[1]
    away = [m.mac for m in (*members.sources, *members.targets) if m.dpid not in part]
    reasons = tuple(NO_ROOM + mac for mac in away)
    sources, targets = (tuple(m for m in side if m.dpid in part) for side in (members.sources, members.targets))
    return part, Members(sources, targets, members.left_out + reasons)


def _count(members: Iterable[Member], dpids: Collection[int]) -> int:
    return sum(member.dpid in dpids for member in members)


def _grow(growing: Growing, dpids: list[int]) -> set[LinkKey]:
    """Links that join these switches, all of which can be reached."""
    root, *rest = dpids
    inside, links, waiting = {root}, set[LinkKey](), set(rest)
    while waiting:
        tree = growing.nearest(root, links)
        following = min(waiting, key=lambda dpid: (tree.distance[growing.index(dpid)], dpid))
        links |= growing.way(tree, following, inside)
        inside.update(dpid for key in links for dpid in (key[0], key[2]))
        waiting -= inside
    return links


def _fastest(
    growing: Growing, dpids: list[int], members: Members, most_ms: float
) -> tuple[set[LinkKey], float | None]:
    """A tree of fastest ways from one of the switches that is fast enough. Raises NotPossible naming the best."""
    least_ms = np.inf
    for root in dpids[:MOST_ROOTS]:
        tree = shortest_paths_from(growing.topology, node_name(root), growing.latency)
        if not all(np.isfinite(tree.distance[growing.index(dpid)]) for dpid in dpids):
            continue
        links: set[LinkKey] = set()
        inside = {root}
        for dpid in dpids:
            links |= growing.way(tree, dpid, inside)
            inside.update(d for key in links for d in (key[0], key[2]))
        latency_ms = tree_latency(links, members, growing.network)
        if latency_ms is not None and latency_ms <= most_ms:
            return links, latency_ms
        least_ms = min(least_ms, np.inf if latency_ms is None else latency_ms)
    if np.isinf(least_ms):
        raise NotPossible(
            "max_latency_ms",
            "every tree with the bandwidth has a link whose latency is not measured yet",
            "try again in a few seconds, or leave max_latency_ms out",
        )
    raise NotPossible(
        "max_latency_ms",
        f"in the fastest tree that was found, hosts of both sides are {least_ms:.4g} ms apart",
        "allow more latency, or fewer hosts",
    )


def tree_latency(links: Iterable[LinkKey], members: Members, network: Network) -> float | None:
    """Between the two hosts of different sides that are farthest apart; None where a link was not measured."""
    ports = ports_of(tuple(links))
    slowest: list[float | None] = [0.0]
    for here, there in ((members.sources, members.targets), (members.targets, members.sources)):
        for target in {member.dpid for member in there}:
            towards = links_towards(ports, target)
            for dpid in {member.dpid for member in here}:
                known = [network.links[key].latency_ms for key in way_to(towards, dpid)]
                slowest.append(None if None in known else sum(ms for ms in known if ms is not None))
    return None if None in slowest else max(ms for ms in slowest if ms is not None)
