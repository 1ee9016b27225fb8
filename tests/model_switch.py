"""An executable OpenFlow 1.3 network: push a packet in, see where it comes out.

Rules are looked up as a switch does it (OpenFlow 1.3.5, 5.1 to 5.4): the highest priority that matches, then its
actions, then its goto. What the specification leaves undefined, two rules of one priority that match the same
packet and do different things, is an error here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from stitching.cookie import is_ours
from stitching.difference import Change, Stage
from stitching.match import Match
from stitching.network import LinkKey, Network, PortId
from stitching.rules import PORT_CONTROLLER, PORT_IN_PORT, FlowRule, Output, RuleKey, RuleSet

ETH_IPV4 = 0x0800
BROADCAST = "ff:ff:ff:ff:ff:ff"

_FIELDS = ("in_port", "eth_src", "eth_dst", "eth_type", "ip_proto", "icmpv6_type")


class Ambiguous(AssertionError):
    """Two rules of one table and priority match the same packet and do different things with it."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The headers that rules look at."""

    eth_src: str
    eth_dst: str
    eth_type: int = ETH_IPV4
    ip_proto: int | None = None
    icmpv6_type: int | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a packet and all its copies.

    delivered: the edge ports it came out of, once for every copy. punted: the switches that sent it to the
    controller. dropped: the switches where a copy ended. crossed: the links it took, in order. looped: a copy was
    still on its way at the hop limit.
    """

    delivered: tuple[PortId, ...]
    punted: tuple[int, ...]
    dropped: tuple[int, ...]
    crossed: tuple[LinkKey, ...]
    looped: bool


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which fields a match looks at: rules of one shape are found by one look-up, and never overlap."""

    names: tuple[str, ...]
    eth_dst_mask: str | None

    @classmethod
    def of(cls, match: Match) -> _Shape:
        names = tuple(name for name in _FIELDS if getattr(match, name) is not None)
        return cls(names, match.eth_dst_mask)

    def key(self, header: Mapping[str, int | str | None]) -> tuple[int | str | None, ...]:
        return tuple(
            _masked(str(header[name]), self.eth_dst_mask) if name == "eth_dst" else header[name]
            for name in self.names
        )


class ModelSwitch:
    """The flow tables of one switch."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[_Shape, dict[tuple[int | str | None, ...], FlowRule]]]] = {}

    @property
    def rules(self) -> dict[RuleKey, FlowRule]:
        """Everything in the tables."""
        return {rule.key: rule for rule in self._all()}

    def add(self, rule: FlowRule) -> None:
        """Put a rule in, over the entry of the same key; raises Ambiguous where it contradicts another."""
        shapes = self._tables.setdefault(rule.table, {}).setdefault(rule.priority, {})
        own = _Shape.of(rule.match)
        for shape, others in shapes.items():
            for other in others.values() if shape != own else ():
                if _overlap(rule.match, other.match) and (rule.actions, rule.goto) != (other.actions, other.goto):
                    raise Ambiguous(f"{rule} and {other}")
        shapes.setdefault(own, {})[own.key(_header(rule.match))] = rule

    def remove(self, rule: FlowRule) -> None:
        """Take the entry of this key out, where it is ours (delete strict with our owner as the cookie mask)."""
        shape = _Shape.of(rule.match)
        entries = self._tables.get(rule.table, {}).get(rule.priority, {}).get(shape, {})
        key = shape.key(_header(rule.match))
        if key in entries and is_ours(entries[key].cookie):
            del entries[key]

    def outputs(self, in_port: int, packet: Packet) -> list[Output]:
        """What the switch does with a packet that comes in by this port; nothing means it is dropped."""
        header: dict[str, int | str | None] = {name: getattr(packet, name) for name in _FIELDS[1:]}
        header["in_port"] = in_port
        outputs: list[Output] = []
        table: int | None = 0
        while table is not None:
            rule = self._look_up(table, header)
            if rule is None:
                break
            if rule.goto is not None and rule.goto <= table:
                raise AssertionError(f"a goto must lead to a later table: {rule}")
            outputs.extend(rule.actions)
            table = rule.goto
        return outputs

    def _look_up(self, table: int, header: Mapping[str, int | str | None]) -> FlowRule | None:
        priorities = self._tables.get(table, {})
        for priority in sorted(priorities, reverse=True):
            for shape, entries in priorities[priority].items():
                if (rule := entries.get(shape.key(header))) is not None:
                    return rule
        return None

    def _all(self) -> Iterator[FlowRule]:
        for priorities in self._tables.values():
            for shapes in priorities.values():
                for entries in shapes.values():
                    yield from entries.values()


class ModelNetwork:
    """Switches joined by the links of a Network; every other port is an edge port."""

    def __init__(self, network: Network, rules: Mapping[int, RuleSet] | None = None) -> None:
        self._wires = {link.source: key for key, link in network.links.items()}
        self.switches = {dpid: ModelSwitch() for dpid in network.dpids}
        for dpid, switch_rules in (rules or {}).items():
            for rule in switch_rules.values():
                self.switches[dpid].add(rule)

    @property
    def rules(self) -> dict[int, dict[RuleKey, FlowRule]]:
        """The rules of every switch."""
        return {dpid: switch.rules for dpid, switch in self.switches.items()}

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry out changes in this order."""
        for change in changes:
            switch = self.switches[change.dpid]
            if change.remove:
                switch.remove(change.entry)
            else:
                switch.add(change.entry)

    def apply_stages(self, stages: Iterable[Stage]) -> None:
        """Carry out stages one after the other."""
        for stage in stages:
            self.apply(stage)

    def inject(self, dpid: int, in_port: int, packet: Packet) -> Fate:
        """Send a packet in by a port and follow it to its end, the rules standing still.

        With in_port PORT_CONTROLLER it is a packet-out through the tables (OFPP_TABLE).
        """
        flight = self.launch(dpid, in_port, packet, hop_limit=2 * len(self.switches))
        while flight.advance():
            pass
        return flight.fate

    def launch(self, dpid: int, in_port: int, packet: Packet, *, hop_limit: int) -> Flight:
        """Send a packet in by a port, to be moved on switch by switch."""
        return Flight(self.switches, self._wires, packet, hop_limit, deque([(dpid, in_port, 0)]))


@dataclass
class Flight:
    """A packet and its copies on their way: rules may change between two steps."""

    _switches: Mapping[int, ModelSwitch]
    _wires: Mapping[PortId, LinkKey]
    _packet: Packet
    _hop_limit: int
    _on_the_way: deque[tuple[int, int, int]]
    _delivered: list[PortId] = field(default_factory=list)
    _punted: list[int] = field(default_factory=list)
    _dropped: list[int] = field(default_factory=list)
    _crossed: list[LinkKey] = field(default_factory=list)
    _looped: bool = False

    @property
    def fate(self) -> Fate:
        """What became of it so far."""
        return Fate(
            tuple(sorted(self._delivered)),
            tuple(sorted(self._punted)),
            tuple(sorted(self._dropped)),
            tuple(self._crossed),
            self._looped,
        )

    def advance(self) -> bool:
        """Take one copy through the switch it stands before; False once none is left."""
        if not self._on_the_way:
            return False
        dpid, in_port, hops = self._on_the_way.popleft()
        # Copies multiply in a broadcast loop: one that is found is enough.
        if hops > self._hop_limit or self._looped:
            self._looped = True
            self._on_the_way.clear()
            return False
        sent = False
        for output in self._switches[dpid].outputs(in_port, self._packet):
            sent |= self._send(dpid, in_port, output.port_no, hops)
        if not sent:
            self._dropped.append(dpid)
        return True

    def _send(self, dpid: int, in_port: int, port_no: int, hops: int) -> bool:
        """Whether anything left: a packet only goes back by the port it came in where that is asked for."""
        if port_no == PORT_CONTROLLER:
            self._punted.append(dpid)
            return True
        if port_no == in_port:
            return False
        if port_no == PORT_IN_PORT:
            port_no = in_port
        wire = self._wires.get((dpid, port_no))
        if wire is None:
            self._delivered.append((dpid, port_no))
        else:
            self._crossed.append(wire)
            self._on_the_way.append((wire[2], wire[3], hops + 1))
        return True


def _header(match: Match) -> dict[str, int | str | None]:
    return {name: getattr(match, name) for name in _FIELDS}


def _overlap(one: Match, other: Match) -> bool:
    """Whether some packet matches both."""
    for name in _FIELDS:
        ours, theirs = getattr(one, name), getattr(other, name)
        if ours is None or theirs is None:
            continue
        if name == "eth_dst":
            ours = _masked(_masked(ours, one.eth_dst_mask), other.eth_dst_mask)
            theirs = _masked(_masked(theirs, one.eth_dst_mask), other.eth_dst_mask)
        if ours != theirs:
            return False
    return True


@lru_cache(maxsize=1 << 12)
def _masked(mac: str, mask: str | None) -> str:
    if mask is None:
        return mac
    pairs = zip(bytes.fromhex(mac.replace(":", "")), bytes.fromhex(mask.replace(":", "")), strict=True)
    return bytes(value & bits for value, bits in pairs).hex(":")
