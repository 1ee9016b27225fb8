"""Decides whether a packet may teach where a host is: a MAC does not move while it is where it was.

Where a MAC shows up on a second port, its old port is asked for it (an ARP probe, RFC 5227). If an answer comes
from there, the second one is forged; if none does, the host has moved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from ryu_apps.discovering.hosts import HostTable, Sender
from stitching.network import Host, Network, PortId, port_name
from stitching.spoofing import NOBODY, whose
from stitching.vnet import Directory, SpoofGuard

ANSWER_S = 0.3
"""How long the old port has to answer."""

REFUSED_S = 1.0
"""After a forged packet, others like it are refused unasked for so long."""

SILENT_S = 5.0
"""A host of no known address cannot be asked: it has moved when nothing was heard of it for so long."""

ALARM_S = 60.0
"""The same forgery raises an alarm once in so long."""

MOST = 1024
"""Moves that are looked into at once, and alarms that are remembered."""


@dataclass(frozen=True, slots=True)
class Spoof:
    """A packet that was not believed: who it said it is from, where it came in, and why."""

    mac: str
    ip: str | None
    port: PortId
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """A MAC that shows up on a second port."""

    who: Sender
    old: Host
    port: PortId
    asked_s: float


class SourceGuard:
    """Stands before the host table. ask sends an ARP probe for a host to its port; alarm hears of forgeries."""

    def __init__(
        self,
        hosts: HostTable,
        *,
        is_up: Callable[[PortId], bool],
        ask: Callable[[Host], bool],
        alarm: Callable[[Spoof], None],
    ) -> None:
        self._hosts = hosts
        self._is_up = is_up
        self._ask = ask
        self._alarm = alarm
        self.directory = Directory.of(())
        self._moves: OrderedDict[str, Move] = OrderedDict()
        self._refused: OrderedDict[tuple[str, PortId], float] = OrderedDict()
        self._alarmed: OrderedDict[tuple[str, PortId, str], float] = OrderedDict()

    def believed(self, who: Sender, port: PortId, network: Network, now_s: float) -> Sender | None:
        """What of a packet may be learned: all, all but the address, or nothing (None)."""
        member, known = self.directory.member(who.mac), self._hosts.get(who.mac)
        guard = self.directory.guard_of(known or Host(who.mac, *port))
        if member is not None and member.port not in (None, port) and guard is not SpoofGuard.OFF:
            where = port_name(member.port) if member.port is not None else ""
            self._tell(Spoof(who.mac, who.ip, port, f"it is declared to be on {where}"), now_s)
            return None
        if known is not None and known.port == port:
            self._is_there(who, now_s)
        elif known is not None and guard is not SpoofGuard.OFF and not self._may_move(who, known, port, now_s):
            return None
        if who.ip is not None and (owner := whose(who.ip, who.mac, network, self.directory)) is not None:
            reason = f"its address is that of {owner}"
            if owner == NOBODY:
                reason = "its address is none of those that are declared for it"
            self._tell(Spoof(who.mac, who.ip, port, reason), now_s)
            return replace(who, ip=None, claimed=False)
        return who

    def moved(self, now_s: float) -> list[Move]:
        """The moves whose old port has not answered: they are true."""
        done = [move for move in self._moves.values() if now_s - move.asked_s >= ANSWER_S]
        for move in done:
            del self._moves[move.who.mac]
        return done

    def _may_move(self, who: Sender, known: Host, port: PortId, now_s: float) -> bool:
        if not self._is_up(known.port):
            self._moves.pop(who.mac, None)
            return True
        if now_s < self._refused.get((who.mac, port), float("-inf")) or who.mac in self._moves:
            return False
        if any(":" not in ip for ip in known.ips) and self._ask(known):
            _keep(self._moves, who.mac, Move(who, known, port, now_s))
            return False
        if now_s - self._hosts.seen_s(who.mac) > SILENT_S:
            return True
        self._forged(who, port, now_s, known)
        return False

    def _is_there(self, who: Sender, now_s: float) -> None:
        """A host was heard where it is known to be: whoever else claims its MAC forges it."""
        move = self._moves.pop(who.mac, None)
        if move is not None:
            self._forged(move.who, move.port, now_s, move.old)

    def _forged(self, who: Sender, port: PortId, now_s: float, known: Host) -> None:
        _keep(self._refused, (who.mac, port), now_s + REFUSED_S)
        reason = f"the host is on {port_name(known.port)}"
        self._tell(Spoof(who.mac, who.ip, port, reason), now_s)

    def _tell(self, spoof: Spoof, now_s: float) -> None:
        key = (spoof.mac, spoof.port, spoof.reason)
        if now_s - self._alarmed.get(key, float("-inf")) >= ALARM_S:
            _keep(self._alarmed, key, now_s)
            self._alarm(spoof)


def _keep(kept: OrderedDict, key: object, value: object) -> None:  # type: ignore[type-arg]  # of any three
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST:
        kept.popitem(last=False)
