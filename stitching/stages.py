"""The rules of a stitch, and the order in which they may be put in and taken out.

A packet that meets the first rule of a stitch finds all the others in place: rules go in from the far end to
the near end and leave from the near end to the far end, each stage confirmed before the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import zip_longest

from stitching import cookie
from stitching.cookie import Kind
from stitching.difference import Change, Stage
from stitching.match import ETH_PROBE, Match
from stitching.network import LinkKey, Network, reverse
from stitching.pipeline import WHOLE_PACKET, next_links
from stitching.rules import PORT_CONTROLLER, PORT_IN_PORT, Entry, EntryKey, FlowRule, Output, Table, rule_set
from stitching.stitch import Stitch

_QUEUEING_MS = 10.0
"""What a packet may wait at a port on top of the latency of the link, as far as pauses allow for it."""


def stitch_rules(stitch: Stitch) -> dict[int, dict[EntryKey, Entry]]:
    """The rules of a stitch that has a path, per switch."""
    rules: dict[int, list[FlowRule]] = defaultdict(list)
    for direction in _directions(stitch):
        for dpid, hop_rules in direction:
            rules[dpid].extend(hop_rules)
    return {dpid: rule_set(switch_rules) for dpid, switch_rules in rules.items()}


def establish_stages(stitch: Stitch) -> tuple[Stage, ...]:
    """Far end first. Both directions advance side by side: each is complete in itself."""
    directions = [list(reversed(direction)) for direction in _directions(stitch)]
    return _in_step(directions, remove=False)


def remove_stages(stitch: Stitch) -> tuple[Stage, ...]:
    """Near end first, so that what is still in flight finds the rest of its way."""
    return _in_step(_directions(stitch), remove=True)


def reroute_stages(before: Stitch, after: Stitch) -> tuple[Stage, ...]:
    """From one path to another: the new one is put in over the old far end first, then the rest of the old goes.

    A packet that meets a rule of the new path stays on it, as everything behind that rule is in place.
    """
    kept = stitch_rules(after)
    leftover = (
        tuple(change for change in stage if change.entry.key not in kept.get(change.dpid, {}))
        for stage in remove_stages(before)
    )
    return (*establish_stages(after), *(stage for stage in leftover if stage))


def establish_pause_s(stitch: Stitch, network: Network) -> float:
    """How long to wait between the stages of establishing, so that no packet in flight meets a rule halfway.

    Only where the shortest way runs against the path: a packet on such a link, sent there by the old rules, would
    be sent back by the new ones, and a switch does not send out of the port a packet came in by.
    """
    if stitch.path is None or not stitch.path.links:
        return 0.0
    against = []
    ways = [(stitch.path.links, stitch.path.hops[-1].dpid)]
    if stitch.request.both_ways:
        ways.append((tuple(reverse(key) for key in stitch.path.links), stitch.path.hops[0].dpid))
    for links, target in ways:
        shortest = next_links(network, target)
        against += [key for key in links if shortest.get(key[2]) == reverse(key)]
    return _longest_s(against, network)


def remove_pause_s(stitch: Stitch, network: Network) -> float:
    """How long to wait between the stages of removing: until what is on a link has left it."""
    return _longest_s(stitch.path.links, network) if stitch.path is not None else 0.0


def _longest_s(links: Iterable[LinkKey], network: Network) -> float:
    known = (network.links[key].latency_ms for key in links if key in network.links)
    return max((((ms or 0.0) + _QUEUEING_MS) / 1e3 for ms in known), default=0.0)


def _in_step(directions: list[list[tuple[int, list[FlowRule]]]], *, remove: bool) -> tuple[Stage, ...]:
    nothing: tuple[int, list[FlowRule]] = (0, [])
    return tuple(
        tuple(Change(dpid, rule, remove) for dpid, rules in steps for rule in rules)
        for steps in zip_longest(*directions, fillvalue=nothing)
    )


def _directions(stitch: Stitch) -> list[list[tuple[int, list[FlowRule]]]]:
    """For each direction the switches from near to far, each with the rules it needs."""
    if stitch.path is None:
        raise ValueError(f"stitch {stitch.id} has no path yet")
    ways = (stitch.path.hops, stitch.path.reverse_hops)
    directions = []
    for (source, target), hops in zip(stitch.request.directions, ways, strict=False):
        match = Match(eth_src=source, eth_dst=target)
        rule_cookie = cookie.pack(Kind.STITCH, epoch=stitch.epoch, stitch=stitch.id)
        direction = []
        for hop in hops:
            port_no = PORT_IN_PORT if hop.out_port == hop.in_port else hop.out_port
            rule = FlowRule(Table.STITCH, 200, match, (Output(port_no),), cookie=rule_cookie)
            direction.append((hop.dpid, [rule]))
        direction[-1][1].append(_probe_rule(stitch, source, target))
        directions.append(direction)
    return directions


def _probe_rule(stitch: Stitch, source: str, target: str) -> FlowRule:
    """At the far end probes leave the path for the controller instead of the host."""
    return FlowRule(
        Table.STITCH,
        300,
        Match(eth_src=source, eth_dst=target, eth_type=ETH_PROBE),
        (Output(PORT_CONTROLLER, WHOLE_PACKET),),
        cookie=cookie.pack(Kind.PROBE, epoch=stitch.epoch, stitch=stitch.id),
    )
