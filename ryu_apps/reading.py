"""What a switch is asked for to know what it holds, and its answers, which come in parts and in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ryu_apps import wire
from stitching.cookie import is_ours
from stitching.rules import Entry, EntryKey

_REPLY_MORE = 1


@dataclass
class Reading:
    """The questions for rules, groups and meters that were asked at asked_s, and what came in so far."""

    flows_xid: int
    groups_xid: int
    meters_xid: int
    asked_s: float
    entries: dict[EntryKey, Entry] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, xids: Iterator[int], now_s: float) -> Reading:
        """Questions with the next of these transaction ids."""
        reading = cls(next(xids), next(xids), next(xids), now_s)
        reading.open = {reading.flows_xid, reading.groups_xid, reading.meters_xid}
        return reading

    def requests(self) -> bytes:
        """The messages that ask."""
        return wire.our_flows(self.flows_xid) + wire.groups(self.groups_xid) + wire.meters(self.meters_xid)

    def take(self, message: Any) -> bool:
        """Take in one part of an answer (an os-ken multipart reply). Returns whether that was the last of all."""
        if message.xid not in self.open:
            return False
        for stats in message.body:
            entry = self._read(message.xid, stats)
            if entry is not None:
                self.entries[entry.key] = entry
        if message.flags & _REPLY_MORE:
            return False
        return self.refuse(message.xid)

    def refuse(self, xid: int) -> bool:
        """A question that gets no answer, or no more of it. Returns whether that was the last of all."""
        if xid not in self.open:
            return False
        self.open.remove(xid)
        return not self.open

    def is_asked_for_flows(self, xid: int) -> bool:
        """Whether this question is the one for rules, still unanswered."""
        return xid == self.flows_xid and xid in self.open

    def _read(self, xid: int, stats: Any) -> Entry | None:
        if xid == self.flows_xid:
            return wire.read_flow(stats) if is_ours(stats.cookie) else None
        return wire.read_group(stats) if xid == self.groups_xid else wire.read_meter(stats)
