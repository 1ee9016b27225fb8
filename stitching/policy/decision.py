"""What a policy says of a packet: the first rule that matches decides.

A rule that allows also lets the answers through, at its own place in the order: packets the other way round whose
source port is one of its ports. No state is kept, so whoever may answer from a port may also send from it unasked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from stitching.network import Host
from stitching.policy import ports
from stitching.policy.document import BETWEEN, NO_DEMANDS, WITHIN, By, Demands, Policy, Rule, Selector
from stitching.policy.windows import is_open, next_change_s
from stitching.vnet import Directory


@dataclass(frozen=True, slots=True)
class Party:
    """A host as rules see it."""

    mac: str
    name: str
    vnet: str
    labels: frozenset[str] = frozenset()
    ips: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Flow:
    """What of a packet rules look at.

    No protocol: not IP, or a protocol that no rule names. No ports: it has none, or is a later fragment, which
    does not show them.
    """

    protocol: int | None = None
    src_port: int | None = None
    dst_port: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """May it be sent, by which rule (or default) and, where it may, on what kind of path. reply: as an answer."""

    allowed: bool
    rule: str
    demands: Demands = NO_DEMANDS
    reply: bool = False

    @property
    def by_default(self) -> bool:
        """Whether no rule decided."""
        return self.rule in (WITHIN, BETWEEN)


def party_of(host: Host, directory: Directory) -> Party:
    """Who a host is."""
    member = directory.member(host.mac)
    labels = frozenset(member.labels) if member is not None else frozenset[str]()
    declared = member.ips if member is not None else ()
    # Where addresses are declared, those that it claims besides make it a member of nothing.
    ips = frozenset(declared) if declared else host.ips
    return Party(host.mac, directory.name_of(host), directory.vnet_of(host), labels, ips)


def default_for(source: Party, target: Party) -> Verdict:
    """What holds where no rule matches."""
    same = source.vnet == target.vnet
    return Verdict(same, WITHIN if same else BETWEEN)


def decide(policy: Policy, source: Party, target: Party, flow: Flow, time_s: float) -> Verdict:
    """What a policy says of a packet at a time, in seconds since the epoch."""
    for rule in policy.rules:
        if rule.protocol not in (None, flow.protocol) or not is_open(rule.windows, time_s):
            continue
        there, back = concerns(policy, rule, source, target), concerns(policy, rule, target, source)
        if there and ports.holds(rule.ports, flow.dst_port):
            return Verdict(rule.allow, rule.name, rule.demands)
        if rule.allow and back and ports.holds(rule.ports, flow.src_port):
            return Verdict(True, rule.name, rule.demands, reply=True)
    return default_for(source, target)


def concerns(policy: Policy, rule: Rule, source: Party, target: Party) -> bool:
    """Whether a rule is about packets from one to the other."""
    return means(policy.expand(rule.source), source) and means(policy.expand(rule.target), target)


def means(selectors: Iterable[Selector], party: Party) -> bool:
    """Whether one of these selectors, groups taken apart, means a host."""
    return any(_means(selector, party) for selector in selectors)


def _means(selector: Selector, party: Party) -> bool:
    match selector.by:
        case By.ANY:
            return True
        case By.VNET:
            return party.vnet == selector.value[0]
        case By.HOST:
            wanted = selector.value[0].lower()
            return wanted in (party.mac, party.name.lower()) or wanted in party.ips
        case By.LABELS:
            return party.labels.issuperset(selector.value)
        case By.SUBNET:
            network = _network(selector.value[0])
            return any(ipaddress.ip_address(ip) in network for ip in party.ips)
        case _:
            return False


@lru_cache(maxsize=4096)
def _network(subnet: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(subnet)


def next_change(policy: Policy, time_s: float) -> float:
    """The first moment after a time at which a verdict may be another one; infinite where time changes nothing."""
    return min((next_change_s(rule.windows, time_s) for rule in policy.rules), default=float("inf"))
