"""A switch as the apps see it: it takes bytes, and a test says what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser

from ryu_apps import wire
from stitching.cookie import OWNER_MASK
from stitching.match import Match
from stitching.rules import (
    FIRST_BYPASS,
    PORT_IN_PORT,
    Bypass,
    Entry,
    EntryKey,
    Failover,
    First,
    FlowRule,
    Group,
    Meter,
    StrayRule,
)
from tests.unit.decode import decode, reported

_EXPERIMENTER, _PACKET_OUT, _FLOW_MOD, _GROUP_MOD, _MULTIPART, _BARRIER, _METER_MOD = 4, 13, 14, 15, 18, 20, 29
_ADDED, _OPEN, _COMMIT, _DISCARD = 2301, 0, 4, 6
_MODS = (_FLOW_MOD, _GROUP_MOD, _METER_MOD)


@dataclass
class FakeSwitch:
    """A connection that keeps what a switch holds and notes, in order, every message that was sent over it.

    refuses are keys of entries it does not take; without bundles it does not know them. What it refused is in
    `errors`, oldest first, until a test delivers it; bundles are carried out as Open vSwitch does it. guests are
    the rules of hosted apps, counted by owner; with keeps_guests it does not let them go.
    """

    id: int
    table: dict[EntryKey, Entry] = field(default_factory=dict)
    sent: list[tuple[int, int]] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    rtt_s: float | None = None
    closed: bool = False
    bundles: bool = True
    refuses: set[EntryKey] = field(default_factory=set)
    errors: list[int] = field(default_factory=list)
    commits: int = 0
    bundle: list[bytes] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)
    before: dict[int, tuple[EntryKey, Entry | None]] = field(default_factory=dict)
    guests: dict[int, int] = field(default_factory=dict)
    keeps_guests: bool = False
    owners_asked: dict[int, int] = field(default_factory=dict)
    ofproto = ofproto_v1_3
    ofproto_parser = ofproto_v1_3_parser

    def send(self, data: bytes) -> bool:
        """Carry out every message in data."""
        while data:
            _version, kind, length, xid = ofproto_parser.header(data)
            self.sent.append((kind, xid))
            message, data = data[:length], data[length:]
            if kind in _MODS:
                self._apply(message)
            elif kind == _EXPERIMENTER:
                self._take_bundle(message, xid)
            elif kind == _PACKET_OUT:
                self.packets.append(message)
            elif kind == _MULTIPART:
                self._take_question(message, xid)
        return True

    def _take_question(self, message: bytes, xid: int) -> None:
        kind = int.from_bytes(message[8:10], "big")
        if kind == ofproto_v1_3.OFPMP_AGGREGATE and any(message[40:48]):
            assert message[40:48] == b"\xff" + bytes(7)
            self.owners_asked[xid] = message[32]
        else:
            self.asked[kind] = xid

    def _take_bundle(self, message: bytes, xid: int) -> None:
        if not self.bundles:
            self.errors.append(xid)
        elif int.from_bytes(message[12:16], "big") == _ADDED:
            assert message[25] != _METER_MOD, "a meter in a bundle"
            assert message[4:8] == message[28:32], "another transaction id inside"
            self.bundle.append(message[24:])
        elif message[21] == _COMMIT:
            messages, self.bundle = self.bundle, []
            refused = [data for data in messages if self._would_refuse(data)]
            if refused:
                self.errors += [int.from_bytes(refused[0][4:8], "big"), xid]
            else:
                self.commits += 1
                for data in messages:
                    self._apply(data)
        else:
            assert message[21] in (_OPEN, _DISCARD)
            self.bundle = []

    def _would_refuse(self, data: bytes) -> bool:
        mod = decode(data)
        entry = wire.read_flow(reported(data)) if data[1] == _FLOW_MOD else _read_mod(mod, put=True)
        put = mod.command == ofproto_v1_3.OFPFC_ADD
        return put and entry is not None and self._refused(entry)

    def _refused(self, entry: Entry) -> bool:
        """Whether it does not take an entry."""
        return entry.key in self.refuses

    def close(self) -> None:
        """The controller has had enough of this connection."""
        self.closed = True

    def _apply(self, data: bytes) -> None:
        _version, kind, _length, xid = ofproto_parser.header(data)
        mod = decode(data)
        if kind == _FLOW_MOD and mod.command == ofproto_v1_3.OFPFC_DELETE:
            assert (mod.table_id, mod.cookie_mask) == (
                ofproto_v1_3.OFPTT_ALL,
                OWNER_MASK,
            ) and not mod.match.items()
            if not self.keeps_guests:
                self.guests.pop(mod.cookie >> 56, None)
            return
        if kind == _FLOW_MOD:
            stats = reported(data)
            entry: Entry | None = wire.read_flow(stats) or wire.read_stray(stats)
            put = mod.command == ofproto_v1_3.OFPFC_ADD
        else:
            there = (kind, mod.group_id if kind == _GROUP_MOD else mod.meter_id) in self._numbers()
            put = mod.command != ofproto_v1_3.OFPGC_DELETE
            assert not put or there == (mod.command == ofproto_v1_3.OFPGC_MODIFY), "added twice, or never added"
            entry = _read_mod(mod, put)
        assert entry is not None
        if put and self._refused(entry):
            self.errors.append(xid)
            return
        self.before[xid] = entry.key, self.table.get(entry.key)
        if put:
            self.table[entry.key] = entry
        else:
            self.table.pop(entry.key, None)

    def _numbers(self) -> set[tuple[int, int]]:
        groups = {(_GROUP_MOD, e.group_id) for e in self.table.values() if isinstance(e, Group)}
        return groups | {(_METER_MOD, e.meter_id) for e in self.table.values() if isinstance(e, Meter)}

    def undo(self, xid: int) -> None:
        """Have it that message xid was not carried out: it was refused."""
        key, entry = self.before[xid]
        if entry is None:
            self.table.pop(key, None)
        else:
            self.table[key] = entry

    @property
    def flow_mods(self) -> int:
        """How many FlowMods were sent so far."""
        return sum(kind == _FLOW_MOD for kind, _ in self.sent)

    def last(self, kind: int) -> int:
        """The xid of the newest message of this kind."""
        return next(xid for sent_kind, xid in reversed(self.sent) if sent_kind == kind)

    def state(self, state: str) -> Any:
        """The event of this connection entering a state."""
        return SimpleNamespace(datapath=self, state=state)

    def barrier_reply(self) -> Any:
        """The event that answers the newest barrier."""
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=self.last(_BARRIER)))

    def error(self, xid: int) -> Any:
        """The event of the switch refusing message xid: its table is full."""
        kind, code = ofproto_v1_3.OFPET_FLOW_MOD_FAILED, ofproto_v1_3.OFPFMFC_TABLE_FULL
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid, type=kind, code=code))

    def flows(self, *, more: bool = False) -> Any:
        """The event that answers the newest request for flows with what the table holds."""
        rules = [rule for rule in self.table.values() if isinstance(rule, FlowRule | StrayRule)]
        reply = self._reply(ofproto_v1_3.OFPMP_FLOW, None, more=more)
        reply.msg.entries = [_flow_stats(rule) for rule in rules]
        return reply

    def groups(self) -> Any:
        """The event that answers the newest request for groups."""
        groups = [_as_stats(entry) for entry in self.table.values() if isinstance(entry, Group)]
        return self._reply(ofproto_v1_3.OFPMP_GROUP_DESC, groups)

    def meters(self) -> Any:
        """The event that answers the newest request for meters."""
        meters = [_as_stats(entry) for entry in self.table.values() if isinstance(entry, Meter)]
        return self._reply(ofproto_v1_3.OFPMP_METER_CONFIG, meters)

    def count(self) -> Any:
        """The event that answers the newest request for the number of rules."""
        rules = sum(isinstance(entry, FlowRule | StrayRule) for entry in self.table.values())
        rules += sum(self.guests.values())
        return self._reply(ofproto_v1_3.OFPMP_AGGREGATE, SimpleNamespace(flow_count=rules))

    def owners(self) -> list[Any]:
        """The events that answer how many rules these owners have, in another order than asked."""
        asked, self.owners_asked = self.owners_asked, {}
        return [
            SimpleNamespace(
                msg=SimpleNamespace(
                    datapath=self, xid=xid, body=SimpleNamespace(flow_count=self.guests.get(owner, 0)), flags=0
                )
            )
            for xid, owner in reversed(asked.items())
        ]

    def holds(self) -> list[Any]:
        """The events that say all it holds."""
        return [self.flows(), self.groups(), self.meters(), self.count()]

    def _reply(self, kind: int, body: Any, *, more: bool = False) -> Any:
        flags = ofproto_v1_3.OFPMPF_REPLY_MORE if more else 0
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=self.asked[kind], body=body, flags=flags))


def _flow_stats(rule: FlowRule | StrayRule) -> wire.FlowStats:
    if isinstance(rule, FlowRule):
        return reported(wire.flow_mod(rule, 0))
    plain = reported(wire.flow_mod(FlowRule(rule.table, rule.priority, Match(), cookie=rule.cookie), 0))
    return plain._replace(match=rule.match)


def _as_stats(entry: Entry) -> Any:
    return decode(wire.change(entry, 0))


def _read_mod(mod: Any, put: bool) -> Entry | None:
    """The entry of a GroupMod or MeterMod; one that removes says the number only."""
    if mod.cls_msg_type == _METER_MOD:
        return wire.read_meter(mod)
    if put:
        return wire.read_group(mod)
    if mod.group_id == wire.ALIVE.group_id:
        return wire.ALIVE
    if mod.group_id >= FIRST_BYPASS:
        return _bypass_of(mod.group_id)
    return Failover((mod.group_id >> 16, mod.group_id & 0xFFFF))


def _bypass_of(number: int) -> Bypass:
    """A group of this number, whatever else it does."""
    vid = 0x1000 | 3072 + (number >> 14 & 0x3FF)
    return Bypass(1, vid, PORT_IN_PORT if number & 4 else 2, First(number & 3))
