"""A policy at one moment, for the hosts of one directory: what every pair of them may send each other.

Hosts that the same rules are about are of one standing: what is worked out for two standings holds for all pairs
of hosts of these, so that a thousand hosts in three groups cost nine answers.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from stitching.application import Application
from stitching.network import Host, LinkKey, Network, PortId, port_name, reverse
from stitching.policy import ports
from stitching.policy.decision import Flow, Party, Verdict, means, party_of
from stitching.policy.document import (
    ANY,
    BETWEEN,
    NO_DEMANDS,
    NO_POLICY,
    WITHIN,
    Demands,
    Policy,
    PortRange,
    Rule,
    Selector,
)
from stitching.policy.windows import is_open
from stitching.stitch import StitchPath, VmRequest
from stitching.vnet import Directory


class Standing(NamedTuple):
    """Which of the rules that hold now are about a host, as sender and as receiver, by their place in order."""

    sends: frozenset[int]
    receives: frozenset[int]
    vnet: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """Packets from one host to another that one rule decides on, unless a pattern before it does.

    ports are destination ports, those of the source where it is a reply; none are all.
    """

    rule: str
    allowed: bool
    protocol: int | None = None
    ports: tuple[PortRange, ...] = ()
    reply: bool = False
    demands: Demands = NO_DEMANDS

    @property
    def total(self) -> bool:
        """Whether it is about every packet."""
        return self.protocol is None

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return Verdict(self.allowed, self.rule, self.demands, self.reply)

    def matches(self, flow: Flow) -> bool:
        """Whether it is about a packet."""
        if self.protocol is None:
            return True
        port = flow.src_port if self.reply else flow.dst_port
        return self.protocol == flow.protocol and ports.holds(self.ports, port)


@dataclass(frozen=True)
class Ruling:
    """What a policy says at time_s, in seconds since the epoch.

    marked are the source ports of links that are encrypted, beside those of which the policy itself says so.
    """

    policy: Policy = NO_POLICY
    directory: Directory = field(default_factory=lambda: Directory.of(()))
    time_s: float = 0.0
    marked: frozenset[PortId] = frozenset()

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that hold now, in order."""
        return tuple(rule for rule in self.policy.rules if is_open(rule.windows, self.time_s))

    @cached_property
    def to_anyone(self) -> frozenset[str]:
        """The names of rules that are about every receiver there can be."""
        return frozenset(rule.name for rule in self.rules if ANY in self.policy.expand(rule.target))

    def party(self, host: Host) -> Party:
        """A host as rules see it."""
        return party_of(host, self.directory)

    def standing(self, host: Host) -> Standing:
        """Which rules are about a host."""
        known = self._standings.get(host)
        if known is None:
            known = self._standings[host] = self._standing(host)
        return known

    def patterns(self, source: Standing, target: Standing) -> tuple[Pattern, ...]:
        """What decides on packets from one to the other, in order; the last is about every packet."""
        known = self._patterns.get((source, target))
        if known is None:
            known = self._patterns[source, target] = tuple(self._between(source, target))
        return known

    def between(self, source: Host, target: Host) -> tuple[Pattern, ...]:
        """The patterns for packets from one host to another."""
        return self.patterns(self.standing(source), self.standing(target))

    def decide(self, source: Host, target: Host, flow: Flow) -> Verdict:
        """What becomes of a packet."""
        return next(p.verdict for p in self.between(source, target) if p.matches(flow))

    def may_send(self, source: Host, target: Host) -> bool:
        """Whether one may send the other anything at all."""
        return any(pattern.allowed for pattern in self.between(source, target))

    def denies(self, source: Host, target: Host) -> str | None:
        """The rule that lets one host send another nothing, in words; None where only the lack of a rule does."""
        patterns = self.between(source, target)
        if patterns[-1].rule == BETWEEN or any(pattern.allowed for pattern in patterns):
            return None
        return f"policy rule {patterns[-1].rule!r} denies it"

    def may_meet(self, one: Host, other: Host) -> bool:
        """Whether any of two hosts may send the other anything, so that they need to know each other's address."""
        return self.may_send(one, other) or self.may_send(other, one)

    def demands(self, source: Host, target: Host, application: Application | None = None) -> Demands:
        """What a path has to be that carries all (of an application) that one may send the other."""
        demands = Demands()
        for pattern in _about(self.between(source, target), application):
            if pattern.allowed:
                demands = demands.and_also(pattern.demands)
        return demands

    # -- paths ----------------------------------------------------------------------------------------------

    def unmet(self, demands: Demands, dpids: Iterable[int], links: Iterable[LinkKey]) -> str | None:
        """Why a way over these switches and links is not what is demanded, or None."""
        if demands.zones is not None:
            zones, inside = ", ".join(sorted(demands.zones)) or "none", self._inside(demands.zones)
            outside = next((dpid for dpid in dpids if dpid not in inside), None)
            if outside is not None:
                return f"switch {outside:016x} is outside the allowed zones ({zones})"
        if demands.encrypted:
            return self.plain(links)
        return None

    def plain(self, links: Iterable[LinkKey]) -> str | None:
        """That one of these links is not encrypted, in words; None where all are."""
        for key in links:
            if key[:2] not in self.policy.encrypted and key[:2] not in self.marked:
                return f"link {port_name(key[:2])} is not marked as encrypted"
        return None

    @cached_property
    def demands_encryption(self) -> bool:
        """Whether any rule that holds now does."""
        return any(rule.demands.encrypted for rule in self.rules)

    def allowed_part(self, network: Network, request: VmRequest, *, both_ways: bool) -> Network:
        """The fabric with only the links that the path of a stitch may use; its hosts are there."""
        source, target = network.hosts[request.source_mac], network.hosts[request.target_mac]
        demands = self.demands(source, target, request.application).and_also(Demands(request.encrypted))
        if both_ways:
            back = request.application.back if request.application is not None else None
            demands = demands.and_also(self.demands(target, source, back))
        if not demands:
            return network
        links = {
            key: link
            for key, link in network.links.items()
            if self.unmet(demands, (key[0], key[2]), (key, reverse(key)) if both_ways else (key,)) is None
        }
        return replace(network, links=links)

    def forbids_pair(self, source: Host, target: Host, application: Application | None = None) -> str | None:
        """Why nothing (of an application) may be sent from one host to another, or None where something may."""
        patterns = _about(self.between(source, target), application)
        if any(pattern.allowed and _is_meant(pattern, application) for pattern in patterns):
            return None
        last = patterns[-1]
        if last.rule == BETWEEN:
            ours, theirs = self.directory.vnet_of(source), self.directory.vnet_of(target)
            return f"the hosts are in virtual networks {ours!r} and {theirs!r}, and no policy rule lets them talk"
        return f"policy rule {last.rule!r} denies it"

    def forbids(self, request: VmRequest, path: StitchPath | None, network: Network) -> str | None:
        """Why a stitch must not be, or None. Hosts that are not there now forbid nothing."""
        application = request.application
        for number, (mac, other) in enumerate(request.directions):
            source, target = network.hosts.get(mac), network.hosts.get(other)
            if source is None or target is None:
                continue
            if (reason := self.forbids_pair(source, target, application)) is not None:
                return reason
            if path is not None:
                reason = self._forbids_path(source, target, application, path, back=number == 1)
                if reason is not None:
                    return reason
            application = application.back if application is not None else None
        return None

    def _forbids_path(
        self, source: Host, target: Host, application: Application | None, path: StitchPath, *, back: bool
    ) -> str | None:
        for pattern in _about(self.between(source, target), application):
            if not (pattern.allowed and pattern.demands):
                continue
            for way in (path, path.backup):
                if way is None:
                    continue
                way = way.reversed if back else way
                reason = self.unmet(pattern.demands, (hop.dpid for hop in way.hops), way.links)
                if reason is not None:
                    return f"policy rule {pattern.rule!r} demands another path: {reason}"
        return None

    # -- inside ---------------------------------------------------------------------------------------------

    @cached_property
    def _standings(self) -> dict[Host, Standing]:
        return {}

    @cached_property
    def _patterns(self) -> dict[tuple[Standing, Standing], tuple[Pattern, ...]]:
        return {}

    @cached_property
    def _ends(self) -> list[tuple[tuple[Selector, ...], tuple[Selector, ...]]]:
        return [(self.policy.expand(rule.source), self.policy.expand(rule.target)) for rule in self.rules]

    def _inside(self, zones: frozenset[str]) -> frozenset[int]:
        return frozenset(dpid for zone in zones for dpid in self.policy.zones.get(zone, ()))

    def _standing(self, host: Host) -> Standing:
        party = self.party(host)
        return Standing(
            frozenset(n for n, (source, _) in enumerate(self._ends) if means(source, party)),
            frozenset(n for n, (_, target) in enumerate(self._ends) if means(target, party)),
            party.vnet,
        )

    def _between(self, source: Standing, target: Standing) -> Iterable[Pattern]:
        there = source.sends & target.receives
        back = source.receives & target.sends
        taken: dict[tuple[int, bool], list[PortRange]] = defaultdict(list)
        decided: set[int] = set()
        for number in sorted(there | back):
            rule = self.rules[number]
            ways = [False] * (number in there) + [True] * (rule.allow and number in back)
            for reply in ways:
                pattern = Pattern(rule.name, rule.allow, rule.protocol, rule.ports, reply, rule.demands)
                if rule.protocol is None:
                    yield pattern
                    return
                if rule.protocol in decided:
                    continue
                if not rule.ports:
                    decided.add(rule.protocol)
                    yield pattern
                    continue
                left = ports.without(rule.ports, taken[rule.protocol, reply])
                taken[rule.protocol, reply] += rule.ports
                if left:
                    yield replace(pattern, ports=left)
        same = source.vnet == target.vnet
        yield Pattern(WITHIN if same else BETWEEN, same)


def rule_number(name: str) -> int:
    """The number that cookies have for a rule: it stays the same wherever the rule stands in the order."""
    return zlib.crc32(name.encode())


def _about(patterns: tuple[Pattern, ...], application: Application | None) -> list[Pattern]:
    """The patterns that decide on packets of an application, or on any where there is none."""
    if application is None:
        return list(patterns)
    found = []
    for pattern in patterns:
        port = application.source_port if pattern.reply else application.target_port
        same = pattern.protocol is None or application.ip_proto in (None, pattern.protocol)
        if not same or not (port is None or ports.holds(pattern.ports, port)):
            continue
        found.append(pattern)
        # All packets of the application end here.
        if pattern.protocol in (None, application.ip_proto) and (not pattern.ports or port is not None):
            break
    return found


def _is_meant(pattern: Pattern, application: Application | None) -> bool:
    """Whether a pattern is about calls (or answers) of an application, and not about some odd packets of it.

    A packet to port 22 that comes from port 80 is an answer of port 80: that makes nobody allowed to call port 22.
    """
    if application is None or not pattern.ports:
        return True
    if pattern.reply:
        return application.source_port is not None
    return application.target_port is not None or application.source_port is None
