"""A policy as a value: groups of hosts, rules in order, and the cases it promises to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from stitching.match import ICMP, ICMPV6, SCTP, TCP, UDP
from stitching.network import PortId
from stitching.policy.windows import Window

PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6, "sctp": SCTP}
"""Names of IP protocols; all others are given by number."""

WITH_PORTS = frozenset({TCP, UDP, SCTP})

PortRange = tuple[int, int]
"""First and last port, both included."""

WITHIN = "default within a virtual network"
BETWEEN = "default between virtual networks"
"""What decides where no rule does: hosts of one virtual network may talk, others may not."""


class By(StrEnum):
    """What a selector goes by."""

    ANY = "any"
    GROUP = "group"
    VNET = "vnet"
    HOST = "host"
    SUBNET = "subnet"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which hosts: value is the name of a group, network or host, a subnet, or the labels a host needs to have."""

    by: By
    value: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "any" if self.by is By.ANY else f"{self.by} {'+'.join(self.value)}"


ANY = Selector(By.ANY)


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts under one name: those that any of its selectors means."""

    name: str
    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Demands:
    """What the path of allowed traffic has to be: encrypted, and within these zones (none named: anywhere)."""

    encrypted: bool = False
    zones: frozenset[str] | None = None

    def and_also(self, other: Demands) -> Demands:
        """What meets both."""
        zones = other.zones if self.zones is None else self.zones
        if self.zones is not None and other.zones is not None:
            zones = self.zones & other.zones
        return Demands(self.encrypted or other.encrypted, zones)

    def __bool__(self) -> bool:
        return self.encrypted or self.zones is not None


NO_DEMANDS = Demands()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may send what to whom, and when.

    Without a protocol it is about all traffic, without ports about all of its protocol, without windows it always
    holds. ports are those of the one that is called.
    """

    name: str
    source: tuple[Selector, ...] = (ANY,)
    target: tuple[Selector, ...] = (ANY,)
    protocol: int | None = None
    ports: tuple[PortRange, ...] = ()
    allow: bool = False
    demands: Demands = NO_DEMANDS
    windows: tuple[Window, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class CaseEnd:
    """One end of a case: a host by name, MAC or address, or one made up of a network, labels and an address."""

    host: str | None = None
    vnet: str | None = None
    labels: tuple[str, ...] = ()
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A question and the answer the policy has to give. at_s None asks for the time at which it is accepted."""

    number: int
    source: CaseEnd
    target: CaseEnd
    protocol: int | None
    port: int | None
    at_s: float | None
    allowed: bool


@dataclass(frozen=True)
class Policy:
    """Rules in order (the first that matches decides), and what they speak of.

    zones maps a zone to the switches in it; encrypted are the source ports of links that encrypt.
    """

    rules: tuple[Rule, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=lambda: MappingProxyType({}))
    zones: Mapping[str, frozenset[int]] = field(default_factory=lambda: MappingProxyType({}))
    encrypted: frozenset[PortId] = frozenset()
    cases: tuple[Case, ...] = ()

    def expand(self, selectors: tuple[Selector, ...]) -> tuple[Selector, ...]:
        """The same with groups taken apart; a group that is not there means nobody."""
        expanded: list[Selector] = []
        for selector in selectors:
            if selector.by is By.GROUP:
                group = self.groups.get(selector.value[0])
                expanded += group.selectors if group is not None else ()
            else:
                expanded.append(selector)
        return tuple(expanded)


NO_POLICY = Policy()
