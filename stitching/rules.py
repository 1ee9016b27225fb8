"""What a switch holds, as plain values: flow rules, fast-failover groups and meters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

from stitching.match import Match

PORT_IN_PORT = 0xFFFFFFF8
PORT_CONTROLLER = 0xFFFFFFFD

WHOLE_PACKET = 0xFFFF
"""The max_len of an Output to the controller that wants all of it."""


class Table(IntEnum):
    """The tables of the pipeline, in the order a packet meets them."""

    EDGE = 0
    SEGMENT = 1
    METER = 2
    STITCH = 3
    FORWARD = 4


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of a port; max_len bytes of it where the port is the controller."""

    port_no: int
    max_len: int = 0


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Let a group decide where the packet goes."""

    group_id: int


@dataclass(frozen=True, slots=True)
class PushLabel:
    """Put a VLAN tag with this vlan_vid (VLAN_PRESENT included) and priority (PCP) around the packet."""

    vlan_vid: int
    pcp: int = 0


@dataclass(frozen=True, slots=True)
class PopLabel:
    """Take the outermost VLAN tag off."""


@dataclass(frozen=True, slots=True)
class SetQueue:
    """What leaves after this leaves by this queue of its port."""

    queue_id: int


@dataclass(frozen=True, slots=True)
class SetDscp:
    """Write the six DSCP bits of an IP packet (RFC 2474)."""

    dscp: int


Action = Output | ToGroup | PushLabel | PopLabel | SetQueue | SetDscp

RuleKey = tuple[int, int, Match]
GroupKey = tuple[Literal["group"], int]
MeterKey = tuple[Literal["meter"], int]
StrayKey = tuple[Literal["stray"], int, int, bytes]
EntryKey = RuleKey | GroupKey | MeterKey | StrayKey
"""What makes two entries the same one of a switch: (table, priority, match), or the number of a group or meter."""


class FlowRule(NamedTuple):
    """One entry of a flow table. No actions and no goto means drop; meter is the one the packet passes first."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...] = ()
    goto: int | None = None
    cookie: int = 0
    meter: int | None = None

    @property
    def key(self) -> RuleKey:
        """The entry of the switch this rule is."""
        return self.table, self.priority, self.match


@dataclass(frozen=True, slots=True)
class StrayRule:
    """A rule under our cookie with a match that none of ours has: never wanted, only taken out.

    match is as the switch told it (an ofp_match without its padding); said is the same in words.
    """

    table: int
    priority: int
    match: bytes
    cookie: int
    said: str = field(default="", compare=False)

    @property
    def key(self) -> StrayKey:
        """The entry of the switch this rule is."""
        return "stray", self.table, self.priority, self.match


@dataclass(frozen=True, slots=True)
class Failover:
    """A fast-failover group: the first of these ports that is alive (OpenFlow 1.3.5, 5.6.1), else drop.

    PORT_IN_PORT sends the packet back; it is always taken to be alive. The number says which ports it is made of:
    two that are the same are one, none is ever changed, and ours are told from other people's by their content.
    """

    ports: tuple[int, int]

    @property
    def group_id(self) -> int:
        """The first port in the upper 16 bits, the second in the lower ones: never below 65,536."""
        first, second = self.ports
        return first << 16 | (second & 0xFFFF)

    @property
    def key(self) -> GroupKey:
        """The entry of the switch this group is."""
        return "group", self.group_id


FIRST_BYPASS = 0xFF << 24
"""Groups from here on go round a port: no port has a number that would put a failover there."""


class First(IntEnum):
    """What a group that goes round a port does while that port is alive."""

    OUT = 0
    BACK = 1
    NOTHING = 2


@dataclass(frozen=True, slots=True)
class Bypass:
    """A fast-failover group: out of port_no while that is alive, else round it by port `via`, labelled vlan_vid.

    The label takes the place of the one on the packet; via is PORT_IN_PORT where the way round begins by the port
    that packets come in by. BACK is for those that come in by port_no, NOTHING for a way round beside another one.
    A bucket is an action set, which sends one packet: several ways round are several groups. Of the ways that
    begin at a switch each has a label of its own, which makes the number.
    """

    port_no: int
    vlan_vid: int
    via: int
    first: First = First.OUT

    @property
    def group_id(self) -> int:
        """The label in the bits from 14 on, then whether the way round goes back, and what is done first."""
        label = (self.vlan_vid & 0xFFF) - _LEAST_BYPASS_LABEL
        return FIRST_BYPASS | label << 14 | (self.via == PORT_IN_PORT) << 2 | self.first

    @property
    def key(self) -> GroupKey:
        """The entry of the switch this group is."""
        return "group", self.group_id


_LEAST_BYPASS_LABEL = 3072


@dataclass(frozen=True, slots=True)
class Meter:
    """Drops what goes over a rate. burst_kb is how many kilobits may pass at once after a silence."""

    meter_id: int
    rate_kbps: int
    burst_kb: int

    @property
    def key(self) -> MeterKey:
        """The entry of the switch this meter is."""
        return "meter", self.meter_id


Group = Failover | Bypass

Entry = FlowRule | StrayRule | Group | Meter

RuleSet = Mapping[EntryKey, Entry]
"""What one switch holds, or should hold."""

LEAST_METER = 0x4C00
"""Meters of ours are numbered from here on: they have no cookie to say whose they are."""


def rule_set(entries: Iterable[Entry]) -> dict[EntryKey, Entry]:
    """Index entries by key. Raises ValueError where two different ones claim one key."""
    indexed: dict[EntryKey, Entry] = {}
    for entry in entries:
        other = indexed.setdefault(entry.key, entry)
        if other != entry:
            raise ValueError(f"two rules for one entry: {other} and {entry}")
    return indexed
