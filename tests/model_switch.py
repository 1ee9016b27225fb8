"""An executable OpenFlow 1.3 network: push a packet in, see where it comes out.

Rules are looked up as a switch does it (OpenFlow 1.3.5, 5.1 to 5.6): the highest priority that matches, then its
actions, then its goto; a fast-failover group takes the first of its ports that is alive. What the specification
leaves undefined, two rules of one priority that match the same packet and do different things, is an error here.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from stitching.cookie import is_ours
from stitching.difference import Change, Stage
from stitching.match import ETH_IPV4, Match
from stitching.network import LinkKey, Network, PortId, reverse
from stitching.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Bypass,
    Entry,
    EntryKey,
    Failover,
    First,
    FlowRule,
    Group,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RuleSet,
    SetDscp,
    StrayRule,
    ToGroup,
)

BROADCAST = "ff:ff:ff:ff:ff:ff"

_ALL = (1 << 128) - 1


class Ambiguous(AssertionError):
    """Two rules of one table and priority match the same packet and do different things with it."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The headers that rules look at; labels are its VLAN tags as vlan_vid, the outermost first."""

    eth_src: str
    eth_dst: str
    eth_type: int = ETH_IPV4
    ip_proto: int | None = None
    icmp_type: int | None = None
    ip_src: str | None = None
    ip_dst: str | None = None
    ip_dscp: int | None = None
    src_port: int | None = None
    dst_port: int | None = None
    arp_op: int | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    nd_target: str | None = None
    nd_sll: str | None = None
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a packet and all its copies.

    delivered: the edge ports it came out of, once for every copy. punted: the switches that sent it to the
    controller. dropped: the switches where a copy ended. crossed: the links it took, in order. looped: a copy was
    still on its way at the hop limit. changed: a copy came out of an edge port other than it went in.
    """

    delivered: tuple[PortId, ...]
    punted: tuple[int, ...]
    dropped: tuple[int, ...]
    crossed: tuple[LinkKey, ...]
    looped: bool
    changed: bool = False


Term = tuple[str, int, int]
"""One field of a match: its name, the value, and the bits of it that count."""

Alive = Callable[[int], bool]
"""Whether a port is."""


class ModelSwitch:
    """The flow tables, groups and meters of one switch."""

    def __init__(self) -> None:
        # Rules of one shape (the same bits of the same fields) are found by one look-up, and never overlap.
        self._tables: dict[int, dict[int, dict[tuple[tuple[str, int], ...], dict[tuple[int, ...], FlowRule]]]] = {}
        self._others: dict[EntryKey, Group | Meter] = {}
        self.metered: list[int] = []
        """The meter that each packet met, one after the other."""

    @property
    def rules(self) -> dict[EntryKey, Entry]:
        """Everything it holds."""
        return {**self._others, **{rule.key: rule for rule in self._all()}}

    def add(self, entry: Entry) -> None:
        """Put an entry in, over the one of the same key; raises Ambiguous where a rule contradicts another."""
        if not isinstance(entry, FlowRule):
            assert not isinstance(entry, StrayRule), "nobody puts one there"
            self._others[entry.key] = entry
            return
        self._check_references(entry)
        own, key = _shape_and_key(entry.match)
        shapes = self._tables.setdefault(entry.table, {}).setdefault(entry.priority, {})
        for shape, others in shapes.items():
            for other in others.values() if shape != own else ():
                same = (entry.actions, entry.goto) == (other.actions, other.goto)
                if not same and _overlap(entry.match, other.match):
                    raise Ambiguous(f"{entry} and {other}")
        shapes.setdefault(own, {})[key] = entry

    def remove(self, entry: Entry) -> None:
        """Take the entry of this key out, a rule only where it is ours (our owner as the cookie mask).

        A group or meter takes the rules that name it along (OpenFlow 1.3.5, 6.4): an error here, as no change of
        ours may rely on that.
        """
        if not isinstance(entry, FlowRule):
            users = [rule for rule in self._all() if entry.key in _references(rule)]
            if users:
                raise AssertionError(f"{entry} is removed while {users[0]} needs it")
            self._others.pop(entry.key, None)
            return
        shape, key = _shape_and_key(entry.match)
        entries = self._tables.get(entry.table, {}).get(entry.priority, {}).get(shape, {})
        if key in entries and is_ours(entries[key].cookie):
            del entries[key]

    def outputs(
        self, in_port: int, packet: Packet, alive: Alive = lambda _port: True
    ) -> list[tuple[Output, Packet]]:
        """What the switch sends of a packet that comes in by this port, and as what; nothing: it is dropped."""
        outputs: list[tuple[Output, Packet]] = []
        table: int | None = 0
        while table is not None:
            rule = self._look_up(table, _header(packet, in_port))
            if rule is None:
                break
            if rule.goto is not None and rule.goto <= table:
                raise AssertionError(f"a goto must lead to a later table: {rule}")
            if rule.meter is not None:
                self.metered.append(rule.meter)
            packet = self._carry_out(rule, packet, outputs, alive)
            table = rule.goto
        return outputs

    def _carry_out(
        self, rule: FlowRule, packet: Packet, outputs: list[tuple[Output, Packet]], alive: Alive
    ) -> Packet:
        for action in rule.actions:
            match action:
                case Output():
                    outputs.append((action, packet))
                case ToGroup(number):
                    # What a group does to a packet is not seen by the actions after it.
                    outputs += _of_group(self._others["group", number], packet, alive)
                case PushLabel(vid):
                    packet = replace(packet, labels=(vid, *packet.labels))
                case PopLabel():
                    packet = replace(packet, labels=packet.labels[1:])
                case SetDscp(dscp):
                    packet = replace(packet, ip_dscp=dscp)
                case _:
                    pass  # queues change when a packet leaves, not where to
        return packet

    def _look_up(self, table: int, header: Mapping[str, int | None]) -> FlowRule | None:
        priorities = self._tables.get(table, {})
        for priority in sorted(priorities, reverse=True):
            for shape, entries in priorities[priority].items():
                values = tuple(-1 if (value := header[name]) is None else value & mask for name, mask in shape)
                if (rule := entries.get(values)) is not None:
                    return rule
        return None

    def _check_references(self, rule: FlowRule) -> None:
        for key in _references(rule):
            if key not in self._others:
                raise AssertionError(f"{rule} names {key}, which is not there")

    def _all(self) -> Iterator[FlowRule]:
        for priorities in self._tables.values():
            for shapes in priorities.values():
                for entries in shapes.values():
                    yield from entries.values()


class ModelNetwork:
    """Switches joined by the links of a Network; every other port is an edge port.

    A wire that is cut, in both directions, takes no more packets, and the ports at its ends are no longer alive.
    A switch that is dead takes none either.
    """

    def __init__(self, network: Network, rules: Mapping[int, RuleSet] | None = None) -> None:
        self._wires = {link.source: key for key, link in network.links.items()}
        self._cut: set[LinkKey] = set()
        self._dead: set[int] = set()
        self.switches = {dpid: ModelSwitch() for dpid in network.dpids}
        for dpid, switch_rules in (rules or {}).items():
            self.apply(Change(dpid, entry) for entry in sorted(switch_rules.values(), key=_is_rule))

    @property
    def rules(self) -> dict[int, dict[EntryKey, Entry]]:
        """What every switch holds."""
        return {dpid: switch.rules for dpid, switch in self.switches.items()}

    def cut(self, key: LinkKey) -> None:
        """Cut a wire in both directions."""
        self._cut |= {key, reverse(key)}

    def kill(self, dpid: int) -> None:
        """Let a switch die."""
        self._dead.add(dpid)

    def mend(self) -> None:
        """All wires and switches work again."""
        self._cut.clear()
        self._dead.clear()

    def alive(self, dpid: int, port_no: int) -> bool:
        """Whether what is sent out of a port has a chance to arrive."""
        wire = self._wires.get((dpid, port_no))
        return wire is None or (wire not in self._cut and wire[2] not in self._dead)

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
        flight = self.launch(dpid, in_port, packet, hop_limit=3 * len(self.switches))
        while flight.advance():
            pass
        return flight.fate

    def launch(self, dpid: int, in_port: int, packet: Packet, *, hop_limit: int) -> Flight:
        """Send a packet in by a port, to be moved on switch by switch."""
        return Flight(self, self._wires, packet, hop_limit, deque([(dpid, in_port, 0, packet)]))


@dataclass
class Flight:
    """A packet and its copies on their way: rules may change between two steps."""

    _network: ModelNetwork
    _wires: Mapping[PortId, LinkKey]
    _packet: Packet
    _hop_limit: int
    _on_the_way: deque[tuple[int, int, int, Packet]]
    _delivered: list[PortId] = field(default_factory=list)
    _punted: list[int] = field(default_factory=list)
    _dropped: list[int] = field(default_factory=list)
    _crossed: list[LinkKey] = field(default_factory=list)
    _looped: bool = False
    _changed: bool = False

    @property
    def fate(self) -> Fate:
        """What became of it so far."""
        return Fate(
            tuple(sorted(self._delivered)),
            tuple(sorted(self._punted)),
            tuple(sorted(self._dropped)),
            tuple(self._crossed),
            self._looped,
            self._changed,
        )

    def advance(self) -> bool:
        """Take one copy through the switch it stands before; False once none is left."""
        if not self._on_the_way:
            return False
        dpid, in_port, hops, packet = self._on_the_way.popleft()
        # Copies multiply in a broadcast loop: one that is found is enough.
        if hops > self._hop_limit or self._looped:
            self._looped = True
            self._on_the_way.clear()
            return False
        sent = False
        switch = self._network.switches[dpid]
        for output, copy in switch.outputs(in_port, packet, lambda port: self._network.alive(dpid, port)):
            sent |= self._send(dpid, in_port, output.port_no, hops, copy)
        if not sent:
            self._dropped.append(dpid)
        return True

    def _send(self, dpid: int, in_port: int, port_no: int, hops: int, packet: Packet) -> bool:
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
            self._changed |= packet != self._packet
        elif not self._network.alive(dpid, port_no):
            return False
        else:
            self._crossed.append(wire)
            self._on_the_way.append((wire[2], wire[3], hops + 1, packet))
        return True


def _of_group(group: Entry, packet: Packet, alive: Alive) -> list[tuple[Output, Packet]]:
    if isinstance(group, Failover):
        live = (port for port in group.ports if port == PORT_IN_PORT or alive(port))
        return [(Output(port), packet) for port in live][:1]
    assert isinstance(group, Bypass)
    if not alive(group.port_no):
        return [(Output(group.via), replace(packet, labels=(group.vlan_vid, *packet.labels[1:])))]
    first = {First.OUT: [group.port_no], First.BACK: [PORT_IN_PORT], First.NOTHING: []}
    return [(Output(port), packet) for port in first[group.first]]


def _is_rule(entry: Entry) -> bool:
    return isinstance(entry, FlowRule)


def _references(rule: FlowRule) -> list[EntryKey]:
    """The groups and meters that a rule names."""
    keys: list[EntryKey] = [("group", action.group_id) for action in rule.actions if isinstance(action, ToGroup)]
    return keys if rule.meter is None else [*keys, ("meter", rule.meter)]


@lru_cache(maxsize=1 << 14)
def _header(packet: Packet, in_port: int) -> dict[str, int | None]:
    """The fields of a packet as numbers, None where it has no such field."""
    header: dict[str, int | None] = {
        name: _number(getattr(packet, name))[0] if getattr(packet, name) is not None else None
        for name in Packet.__slots__
        if name != "labels"
    }
    header["in_port"] = in_port
    # A match on the tag alone also says that there is none (OpenFlow 1.3.5, table 12).
    header["vlan_vid"] = packet.labels[0] if packet.labels else 0
    return header


@lru_cache(maxsize=1 << 14)
def _terms(match: Match) -> tuple[Term, ...]:
    masks = {
        "eth_dst": match.eth_dst_mask,
        "vlan_vid": match.vlan_mask,
        "src_port": match.l3.src_port_mask if match.l3 else None,
        "dst_port": match.l3.dst_port_mask if match.l3 else None,
    }
    values = {name: getattr(match, name) for name in ("in_port", "eth_src", "eth_dst", "eth_type", "vlan_vid")}
    if match.l3 is not None:
        values |= {name: getattr(match.l3, name) for name in match.l3._fields if not name.endswith("_mask")}
    terms = []
    for name, value in values.items():
        if value is not None:
            number, bits = _number(value)
            mask = masks.get(name)
            bits &= _ALL if mask is None else _number(mask)[0]
            terms.append((name, number & bits, bits))
    return tuple(terms)


def _shape_and_key(match: Match) -> tuple[tuple[tuple[str, int], ...], tuple[int, ...]]:
    terms = _terms(match)
    return tuple((name, mask) for name, _, mask in terms), tuple(value for _, value, _ in terms)


def _overlap(one: Match, other: Match) -> bool:
    """Whether some packet matches both."""
    theirs = {name: (value, mask) for name, value, mask in _terms(other)}
    for name, value, mask in _terms(one):
        if name in theirs and (value ^ theirs[name][0]) & mask & theirs[name][1]:
            return False
    return True


@lru_cache(maxsize=1 << 12)
def _number(value: int | str) -> tuple[int, int]:
    """A number, MAC, address or prefix as a number, and the bits of it that count."""
    if isinstance(value, int):
        return value, _ALL
    if value.count(":") == 5 and len(value) == 17:
        return int(value.replace(":", ""), 16), _ALL
    network = ipaddress.ip_network(value, strict=False)
    return int(network.network_address), int(network.netmask)
