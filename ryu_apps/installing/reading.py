"""What a switch is asked for to know what it holds, and its answers, which come in parts and in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ryu_apps import wire
from stitching.cookie import OWNER_MASK, Kind, is_ours, kind_of
from stitching.rules import Entry, EntryKey, Table

_REPLY_MORE = 1


def _is_nameplate(stats: wire.FlowStats) -> bool:
    """Whether it is kept by the channel (ryu_apps/nameplate.py), behind all tables of ours."""
    return kind_of(stats.cookie) == Kind.NAMEPLATE and stats.table_id > max(Table)


@dataclass
class Reading:
    """The questions for rules, groups and meters that were asked at asked_s, and what came in so far.

    Entries of others are counted only. Where there are some, a second round asks how many of them hosted apps have
    left that do not run: abandoned, by the owner in their cookies.
    """

    flows_xid: int
    groups_xid: int
    meters_xid: int
    count_xid: int
    asked_s: float
    of_gone: dict[int, int] = field(default_factory=dict)
    entries: dict[EntryKey, Entry] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    rules: int = 0
    all_rules: int = 0
    others_groups: int = 0
    others_meters: int = 0
    abandoned: dict[int, int] = field(default_factory=dict)
    asked_more: bool = False

    @classmethod
    def of(cls, xids: Iterator[int], now_s: float, gone: Iterable[int] = ()) -> Reading:
        """Questions with the next of these transaction ids. gone are the owners of hosted apps that do not run."""
        reading = cls(next(xids), next(xids), next(xids), next(xids), now_s)
        reading.of_gone = {next(xids): owner for owner in gone}
        reading.open = {reading.flows_xid, reading.groups_xid, reading.meters_xid, reading.count_xid}
        return reading

    def requests(self) -> bytes:
        """The messages that ask."""
        return b"".join(
            (
                wire.our_flows(self.flows_xid),
                wire.groups(self.groups_xid),
                wire.meters(self.meters_xid),
                wire.rule_count(self.count_xid),
            )
        )

    def more(self) -> bytes:
        """The messages of the second round, once the first one is answered; none where there is nothing to ask."""
        if self.asked_more or not self.others_rules:
            return b""
        self.asked_more = True
        self.open |= self.of_gone.keys()
        return b"".join(wire.rule_count(xid, owner << 56, OWNER_MASK) for xid, owner in self.of_gone.items())

    @property
    def others_rules(self) -> int:
        """How many rules are there that are none of ours."""
        return max(0, self.all_rules - self.rules)

    def take(self, message: Any) -> bool:
        """Take in one part of an answer (an os-ken multipart reply). Returns whether that was all of a round."""
        if message.xid not in self.open:
            return False
        if message.xid == self.count_xid:
            self.all_rules = message.body.flow_count
            return self.refuse(message.xid)
        if message.xid in self.of_gone:
            if message.body.flow_count:
                self.abandoned[self.of_gone[message.xid]] = message.body.flow_count
            return self.refuse(message.xid)
        for stats in message.entries if message.xid == self.flows_xid else message.body:
            entry = self._read(message.xid, stats)
            if entry is not None:
                self.entries[entry.key] = entry
        if message.flags & _REPLY_MORE:
            return False
        return self.refuse(message.xid)

    def refuse(self, xid: int) -> bool:
        """A question that gets no answer, or no more of it. Returns whether that was the last of a round."""
        if xid not in self.open:
            return False
        self.open.remove(xid)
        return not self.open

    def is_asked_for_flows(self, xid: int) -> bool:
        """Whether this question is the one for rules, still unanswered."""
        return xid == self.flows_xid and xid in self.open

    def _read(self, xid: int, stats: Any) -> Entry | None:
        if xid == self.flows_xid:
            ours = is_ours(stats.cookie)
            self.rules += ours
            if not ours or _is_nameplate(stats):
                return None
            return wire.read_flow(stats) or wire.read_stray(stats)
        if xid == self.groups_xid:
            group = wire.read_group(stats)
            self.others_groups += group is None
            return group
        meter = wire.read_meter(stats)
        self.others_meters += meter is None
        return meter
