"""A connection to a switch that does nothing until a test lets it: messages wait both ways, and may be lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3

from stitching.rules import Entry, EntryKey, Failover, FlowRule, Meter, ToGroup
from tests.unit.fake_switch import FakeSwitch

_MULTIPART, _PACKET_OUT, _BARRIER = 18, 13, 20
_ANSWERS = {
    ofproto_v1_3.OFPMP_FLOW: FakeSwitch.flows,
    ofproto_v1_3.OFPMP_GROUP_DESC: FakeSwitch.groups,
    ofproto_v1_3.OFPMP_METER_CONFIG: FakeSwitch.meters,
    ofproto_v1_3.OFPMP_AGGREGATE: FakeSwitch.count,
}


class Room:
    """How many rules, groups and meters a table takes: keys for which there is no room are `in` it."""

    def __init__(self, table: dict[EntryKey, Entry]) -> None:
        self._table = table
        self.most: dict[type[Entry], int] = {}

    def fill(self, kind: type[Entry], more: int) -> None:
        """Take so many more of a kind than there are now."""
        self.most[kind] = self._count(kind) + more

    def __contains__(self, key: EntryKey) -> bool:
        kind: type[Entry] = {"group": Failover, "meter": Meter}.get(str(key[0]), FlowRule)
        return key not in self._table and self._count(kind) >= self.most.get(kind, 1 << 30)

    def _count(self, kind: type[Entry]) -> int:
        return sum(isinstance(entry, kind) for entry in self._table.values())


@dataclass
class Said:
    """What the switch has to say (barrier, error, holds, packet): the event that the apps get, or the frame."""

    kind: str
    event: Any
    late_s: float = 0.0


@dataclass
class LateSwitch(FakeSwitch):
    """One connection of a switch; the table and the room in it are those of the connection before."""

    inject: Callable[[int, bytes], None] = lambda _dpid, _frame: None
    inbox: list[bytes] = field(default_factory=list)
    saying: list[Said] = field(default_factory=list)
    _committing: bool = False

    def send(self, data: bytes) -> bool:
        """Note what is sent; it is carried out by `work`."""
        while data and not self.closed:
            length = int.from_bytes(data[2:4], "big")
            self.inbox.append(data[:length])
            data = data[length:]
        return not self.closed

    def work(self, count: int) -> None:
        """Carry out the next messages, in their order, and note what there is to say about them."""
        for _ in range(min(count, len(self.inbox))):
            message = self.inbox.pop(0)
            _version, kind, _length, xid = ofproto_parser.header(message)
            super().send(message)
            self.saying += [Said("error", self.error(number)) for number in self.errors]
            self.errors.clear()
            if kind == _BARRIER:
                event = SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid))
                self.saying.append(Said("barrier", event))
            elif kind == _MULTIPART:
                answer = _ANSWERS[int.from_bytes(message[8:10], "big")](self)
                self.saying.append(Said("holds", answer))
            elif kind == _PACKET_OUT:
                self.inject(self.id, self.packets.pop()[40:])

    def can_say(self) -> list[int]:
        """Which of what it has to say may come next: answers come in any order, but what was refused before a
        barrier is told before that, and barriers in their order.
        """
        places = []
        fenced = False
        for place, said in enumerate(self.saying):
            if said.kind == "barrier":
                if not fenced and not any(other.kind == "error" for other in self.saying[:place]):
                    places.append(place)
                fenced = True
            elif said.kind != "error" or not fenced:
                places.append(place)
        return places

    def _refused(self, entry: Entry) -> bool:
        """One that names a group or meter that is not there, as well; in a bundle that may come with it."""
        missing = [key for key in _names(entry) if key not in self.table]
        return super()._refused(entry) or (bool(missing) and not self._committing)

    def _take_bundle(self, message: bytes, xid: int) -> None:
        self._committing = True
        super()._take_bundle(message, xid)
        self._committing = False

    def _apply(self, data: bytes) -> None:
        before = dict(self.table)
        super()._apply(data)
        for key in before.keys() - self.table.keys():
            assert not any(key in _names(rule) for rule in self.table.values()), f"{key} went, and is needed"


def _names(entry: Entry) -> list[EntryKey]:
    """The groups and meters that a rule names."""
    if not isinstance(entry, FlowRule):
        return []
    keys: list[EntryKey] = [("group", action.group_id) for action in entry.actions if isinstance(action, ToGroup)]
    return keys if entry.meter is None else [*keys, ("meter", entry.meter)]
