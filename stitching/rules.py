"""Flow rules as plain values, and the difference between what a switch has and what it should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

MULTICAST = "01:00:00:00:00:00"
"""The group bit of an Ethernet address: as value and mask it matches broadcast and multicast."""

ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
ETH_LLDP = 0x88CC
ETH_PROBE = 0x88B5
"""IEEE 802 local experimental EtherType 1: the probes that cross a stitch."""

PORT_IN_PORT = 0xFFFFFFF8
PORT_CONTROLLER = 0xFFFFFFFD


class Table(IntEnum):
    """The tables of the pipeline, in the order a packet meets them."""

    EDGE = 0
    SEGMENT = 1
    STITCH = 2
    FORWARD = 3


@dataclass(frozen=True, slots=True)
class Match:
    """The fields a rule matches on; None matches anything. Addresses are lower case with colons."""

    in_port: int | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_dst_mask: str | None = None
    eth_type: int | None = None
    ip_proto: int | None = None
    icmpv6_type: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of a port; max_len bytes of it where the port is the controller."""

    port_no: int
    max_len: int = 0


RuleKey = tuple[int, int, Match]
"""What makes two rules the same entry of a switch: (table, priority, match)."""


@dataclass(frozen=True, slots=True)
class FlowRule:
    """One entry of a flow table. No actions and no goto means drop."""

    table: int
    priority: int
    match: Match
    actions: tuple[Output, ...] = ()
    goto: int | None = None
    cookie: int = 0

    @property
    def key(self) -> RuleKey:
        """The entry of the switch this rule is."""
        return self.table, self.priority, self.match


RuleSet = Mapping[RuleKey, FlowRule]
"""The rules of one switch."""


def rule_set(rules: Iterable[FlowRule]) -> dict[RuleKey, FlowRule]:
    """Index rules by key. Raises ValueError where two different rules claim one entry."""
    indexed: dict[RuleKey, FlowRule] = {}
    for rule in rules:
        other = indexed.setdefault(rule.key, rule)
        if other != rule:
            raise ValueError(f"two rules for one entry: {other} and {rule}")
    return indexed


@dataclass(frozen=True, slots=True)
class Change:
    """One step on one switch: add a rule (replacing the entry of the same key) or remove it."""

    dpid: int
    rule: FlowRule
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """What separates a switch from what it should have."""

    missing: tuple[FlowRule, ...] = ()
    wrong: tuple[FlowRule, ...] = ()
    excess: tuple[FlowRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.wrong or self.excess)

    def changes(self, dpid: int) -> tuple[Change, ...]:
        """The steps that close the difference: what is added or put right first, then what goes."""
        put = tuple(Change(dpid, rule) for rule in (*self.missing, *self.wrong))
        return put + tuple(Change(dpid, rule, remove=True) for rule in self.excess)


def diff(has: RuleSet, wants: RuleSet) -> Difference:
    """Compare what a switch has with what it should have; a right rule is in neither answer.

    wrong holds the wanted version of entries whose actions, goto or cookie differ.
    """
    missing = tuple(rule for key, rule in wants.items() if key not in has)
    wrong = tuple(rule for key, rule in wants.items() if key in has and has[key] != rule)
    excess = tuple(rule for key, rule in has.items() if key not in wants)
    return Difference(missing, wrong, excess)


Stage = tuple[Change, ...]
"""Changes that may be applied in any order; the next stage starts when every switch has confirmed this one."""
