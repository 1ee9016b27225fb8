"""The rules that make switches decide as the policy does, all of them at the sender's switch.

Those of table 1 say who may send what to whom; those of table 4 stop what may not go the shortest way.

A pair that no rule with a protocol is about has one rule, or none where it is denied by default. Rules of one pair
never meet packets of another, so their priorities only order the patterns of that pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, L3Match, Match
from stitching.neighbour_rules import let_through
from stitching.network import Host, LinkKey
from stitching.policy import ports
from stitching.policy.document import BETWEEN
from stitching.policy.ruling import Pattern, Ruling, Standing, rule_number
from stitching.rules import FlowRule, Output, Table

PAIR = 200
"""The priority of what decides on all that is left of a pair."""

PATTERNS = 1000
TO_ANYONE = 20_000
LAST = 120
"""The priority of a rule that denies a host all receivers for which it has no rule.

What a segment lets through stands below it (see stitching.segment_rules), and the default deny (50, 0) below that.
"""

Way = tuple[LinkKey, ...]

_SEGMENT = cookie.pack(Kind.SEGMENT)
_Outcome = object


@dataclass(frozen=True, slots=True)
class _Part:
    """What is left of the patterns for one standing of receivers; last None needs no rule.

    asks: they would stop questions for addresses, though one of the two may send the other something.
    """

    patterns: tuple[Pattern, ...]
    last: Pattern | None
    asks: bool


@dataclass(frozen=True, slots=True)
class _Sender:
    """The patterns of a standing of senders: those for every receiver first, and last."""

    first: tuple[Pattern, ...]
    last: Pattern | None
    parts: Mapping[Standing, _Part]


def segment_rules(hosts: Iterable[Host], ruling: Ruling) -> Iterator[tuple[int, FlowRule]]:
    """What each host may send to whom, at its own switch."""
    by_standing: dict[Standing, list[Host]] = defaultdict(list)
    for host in hosts:
        by_standing[ruling.standing(host)].append(host)
    for standing, senders in by_standing.items():
        sender = _sender(ruling, standing, by_standing)
        for source in senders:
            for rule in _to_anyone(source, sender):
                yield source.dpid, rule
            for other, part in sender.parts.items():
                for target in by_standing[other]:
                    if target.mac != source.mac:
                        for rule in _to_one(source, target, part):
                            yield source.dpid, rule


def way_rules(
    hosts: Sequence[Host], ruling: Ruling, way: Callable[[Host, Host], Way | None]
) -> Iterator[tuple[int, FlowRule]]:
    """Stops allowed traffic, at the sender's switch, whose shortest way is not what is demanded of its path.

    It stands behind the table of stitches: what a stitch takes on a path of its own does not meet it.
    """
    if not any(rule.demands for rule in ruling.rules):
        return
    for source in hosts:
        for target in hosts:
            if source.mac == target.mac or not any(
                p.demands and p.allowed for p in ruling.between(source, target)
            ):
                continue
            if (links := way(source, target)) is not None:
                for rule in _way_rules(source, target, links, ruling):
                    yield source.dpid, rule


def _sender(ruling: Ruling, standing: Standing, by_standing: Mapping[Standing, list[Host]]) -> _Sender:
    parts: dict[Standing, tuple[list[Pattern], Pattern]] = {}
    for other, hosts in by_standing.items():
        if other != standing or len(hosts) > 1:
            patterns = ruling.patterns(standing, other)
            parts[other] = _trimmed(patterns, _segment_outcome), patterns[-1]
    first = _shared(ruling, [patterns for patterns, _ in parts.values()])
    last = next((p for _, p in parts.values() if not p.allowed and p.rule in ruling.to_anyone), None)
    left = {}
    for other, (own, end) in parts.items():
        nothing = end.rule == BETWEEN or end == last
        asks = _stop_questions(ruling.patterns(standing, other)) and _may_meet(ruling, standing, other)
        if own[len(first) :] or asks or not nothing:
            left[other] = _Part(tuple(own[len(first) :]), None if nothing else end, asks)
    return _Sender(first, last, left)


def _stop_questions(patterns: Iterable[Pattern]) -> bool:
    return any(not pattern.allowed and pattern.protocol in (None, ICMPV6) for pattern in patterns)


def _may_meet(ruling: Ruling, one: Standing, other: Standing) -> bool:
    return any(pattern.allowed for pattern in (*ruling.patterns(one, other), *ruling.patterns(other, one)))


def _shared(ruling: Ruling, lists: list[list[Pattern]]) -> tuple[Pattern, ...]:
    """What all lists begin with and denies every receiver: one rule of the sender stands for all its pairs."""
    shared = []
    for heads in zip(*lists, strict=False):
        one = heads[0]
        if one.allowed or one.rule not in ruling.to_anyone or any(other != one for other in heads):
            break
        shared.append(one)
    return tuple(shared)


def _to_anyone(source: Host, sender: _Sender) -> Iterator[FlowRule]:
    base = Match(eth_src=source.mac)
    for pattern, level in _levels(sender.first, _segment_outcome):
        for match in _matches(base, pattern):
            yield _segment_rule(TO_ANYONE + level, match, pattern)
    if sender.last is not None:
        yield _segment_rule(LAST, base, sender.last)


def _to_one(source: Host, target: Host, part: _Part) -> Iterator[FlowRule]:
    base = Match(eth_src=source.mac, eth_dst=target.mac)
    if part.asks:
        yield from let_through(base)
    for pattern, level in _levels(part.patterns, _segment_outcome):
        for match in _matches(base, pattern):
            yield _segment_rule(PATTERNS + level, match, pattern)
    if part.last is not None:
        yield _segment_rule(PAIR, base, part.last)


def _segment_rule(priority: int, match: Match, pattern: Pattern) -> FlowRule:
    if pattern.allowed:
        return FlowRule(Table.SEGMENT, priority, match, goto=Table.METER, cookie=_SEGMENT)
    return FlowRule(Table.SEGMENT, priority, match, cookie=_denied(pattern))


def _way_rules(source: Host, target: Host, links: Way, ruling: Ruling) -> Iterator[FlowRule]:
    dpids = (source.dpid, *(key[2] for key in links))

    def stopped(pattern: Pattern) -> str | None:
        return pattern.rule if ruling.unmet(pattern.demands, dpids, links) is not None else None

    allowed = [pattern for pattern in ruling.between(source, target) if pattern.allowed]
    if all(stopped(pattern) is None for pattern in allowed):
        return
    # Only what was allowed comes here: what no pattern before matched, the last one does.
    allowed[-1] = replace(allowed[-1], protocol=None, ports=())
    onward = (Output(links[0][1] if links else target.port_no),)
    base = Match(eth_src=source.mac, eth_dst=target.mac)
    placed = [(p, PATTERNS + level) for p, level in _levels(_trimmed(allowed, stopped), stopped)]
    for pattern, priority in (*placed, (allowed[-1], WAY)):
        for match in _matches(base, pattern):
            actions = onward if stopped(pattern) is None else ()
            kind = cookie.pack(Kind.FORWARD) if actions else _denied(pattern)
            yield FlowRule(Table.FORWARD, priority, match, actions, cookie=kind)


WAY = 150
"""In table 4: above the rules to hosts, below that for probes."""


def _denied(pattern: Pattern) -> int:
    return cookie.pack(Kind.DENY, stitch=rule_number(pattern.rule))


def _segment_outcome(pattern: Pattern) -> _Outcome:
    return None if pattern.allowed else pattern.rule


def _trimmed(patterns: Sequence[Pattern], outcome: Callable[[Pattern], _Outcome]) -> list[Pattern]:
    """The patterns before the last, without those at the end that come to the same as it does."""
    left = list(patterns[:-1])
    while left and outcome(left[-1]) == outcome(patterns[-1]):
        left.pop()
    return left


def _levels(patterns: Sequence[Pattern], outcome: Callable[[Pattern], _Outcome]) -> Iterator[tuple[Pattern, int]]:
    """Each with its rank, counted from the end; neighbours that come to the same share one."""
    level = 0
    for number, pattern in enumerate(reversed(patterns)):
        if number and outcome(pattern) != outcome(patterns[-number]):
            level += 1
        yield pattern, level


def _matches(base: Match, pattern: Pattern) -> Iterator[Match]:
    if pattern.protocol is None:
        yield base
        return
    for eth_type, l3 in _fields(pattern.protocol, pattern.ports, pattern.reply):
        yield Match(eth_src=base.eth_src, eth_dst=base.eth_dst, eth_type=eth_type, l3=l3)


@lru_cache(maxsize=4096)
def _fields(protocol: int, ranges: tuple[tuple[int, int], ...], reply: bool) -> tuple[tuple[int, L3Match], ...]:
    families = {ICMP: (ETH_IPV4,), ICMPV6: (ETH_IPV6,)}.get(protocol, (ETH_IPV4, ETH_IPV6))
    if not ranges:
        return tuple((eth_type, L3Match(ip_proto=protocol)) for eth_type in families)
    fields = []
    for value, mask in ports.prefixes(ranges):
        if reply:
            fields.append(L3Match(ip_proto=protocol, src_port=value, src_port_mask=mask))
        else:
            fields.append(L3Match(ip_proto=protocol, dst_port=value, dst_port_mask=mask))
    return tuple((eth_type, l3) for eth_type in families for l3 in fields)
