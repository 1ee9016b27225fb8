"""Whose a switch is: a rule that no packet meets names the controller that keeps it, so that no two do.

Two controllers that both take a switch for theirs would undo each other's rules for ever. So each, before any of
its apps hears of a switch, reads the nameplate, and stands by where it names another. It is where our rules are,
and goes with them, on any OpenFlow 1.3 switch; the roles of OpenFlow are left to whoever elects a master by them.

The name has two parts: the controller, which is that of its state directory, and the run. A controller that was
restarted takes its switches up again. Where the same state runs twice, from a copy, the later one has the switch.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ryu_apps import wire
from ryu_apps.transactions import Asker, Transactions
from stitching.cookie import KIND_MASK, Kind, pack
from stitching.match import Match
from stitching.network import node_name
from stitching.rules import FlowRule, Table

TABLE = max(Table) + 1
"""No rule of ours leads there."""

CHECK_S = 5.0
"""How often it is looked whether a switch has changed hands."""

_SET_ASYNC = 28
_SET = 1 << 31


@dataclass(frozen=True, slots=True)
class Name:
    """A controller (32 bits, the first one set: no stitch has such a number), and one of its runs (16 bits)."""

    controller: int
    run: int

    @classmethod
    def of(cls, key: bytes, run: int) -> Name:
        """The name of the controller whose state directory has this key."""
        digest = hashlib.blake2s(key, digest_size=4, person=b"name").digest()
        return cls(int.from_bytes(digest) | _SET, run & 0xFFFF)

    def __str__(self) -> str:
        return f"{self.controller:08x}"

    @property
    def plate(self) -> FlowRule:
        """The rule that says so."""
        return FlowRule(TABLE, 0, Match(), cookie=pack(Kind.NAMEPLATE, epoch=self.run, stitch=self.controller))


class Whose(Enum):
    """What is known of a switch: not yet, ours, another's, or that it has just changed hands."""

    UNKNOWN = auto()
    OURS = auto()
    ANOTHERS = auto()
    LOST = auto()


@dataclass
class Names:
    """Who we are, and who else was met. take_over: take switches from others, each once."""

    me: Name
    take_over: bool = False
    held: dict[int, Name] = field(default_factory=dict)
    """The switches that are connected and another's."""
    _displaced: set[int] = field(default_factory=set)

    def may_have(self, dpid: int, found: Name | None) -> bool:
        """Whether a switch with this nameplate is ours to take."""
        if found is None or found == self.me:
            self._displaced.discard(dpid)
            return True
        # Who was displaced does not come back for it, or the two would take turns.
        return dpid not in self._displaced and (self.take_over or found.controller == self.me.controller)

    def displaced(self, dpid: int) -> None:
        """Another has taken this switch from us."""
        self._displaced.add(dpid)

    def complaints(self) -> list[str]:
        """For each switch that is another's, so and the remedy."""
        return [f"switch {node_name(dpid)} {self.why(name)}" for dpid, name in sorted(dict(self.held).items())]

    def why(self, name: Name) -> str:
        """Why nothing is done at a switch of that name, and the remedy."""
        if name.controller == self.me.controller:
            return (
                "is kept by another controller with a copy of the same state: nothing is done there by this one; "
                "stop one of the two"
            )
        return (
            f"is kept by another controller ({name}): nothing is done there by this one; take one of the two off "
            "that switch (ovs-vsctl set-controller), or, if the other is gone for good, start this one once with "
            "--take-over"
        )


class Claim:
    """Finds out over one connection whose the switch is, and puts our name there."""

    def __init__(self, names: Names, dpid: int) -> None:
        self._names = names
        self.dpid = dpid
        self._xids = Transactions(Asker.NAMEPLATE)
        self._asked: int | None = None
        self._put: int | None = None
        self.whose = Whose.UNKNOWN
        self.checked_s = 0.0
        self.was_taken = False
        """Whether another controller has taken it while it was ours."""
        self.refused: str | None = None
        """Why the switch does not take a nameplate. It is ours all the same, for want of anybody else's."""

    @property
    def why(self) -> str:
        """Why nothing is done there, and the remedy."""
        return self._names.why(self._names.held[self.dpid])

    def ask(self, now_s: float) -> bytes:
        """The message that asks for the nameplate."""
        self.checked_s = now_s
        self._asked = next(self._xids)
        return wire.our_flows(self._asked, pack(Kind.NAMEPLATE), KIND_MASK, table=TABLE)

    def is_answer(self, message: Any) -> bool:
        """Whether a message answers one of ours."""
        return message.xid is not None and message.xid in (self._asked, self._put)

    def take(self, message: Any, now_s: float) -> bytes:
        """Take an answer in (an os-ken multipart reply, or error); `whose` is up to date after it.

        Returns what is to be sent then. A switch that will not say what rules it has is taken for nobody's.
        """
        if message.xid == self._put:
            self.refused = wire.error_words(message)
            return b""
        self._asked = None
        return self._found(_names_in(getattr(message, "entries", ())), now_s)

    def _found(self, found: Name | None, now_s: float) -> bytes:
        if self.whose is Whose.UNKNOWN:
            return self._first_found(found, now_s)
        anothers = found is not None and found != self._names.me
        if self.whose is Whose.ANOTHERS:
            if found is not None and anothers:
                return self._stand_by(found)
            self.whose = Whose.LOST  # by the other one, who is gone: it is taken up from the beginning
        elif anothers:
            self._names.displaced(self.dpid)
            self.whose, self.was_taken = Whose.LOST, True
        elif found is None and self.refused is None:
            return self._put_plate()  # somebody has cleared the tables
        return b""

    def _first_found(self, found: Name | None, now_s: float) -> bytes:
        mine, tried = found == self._names.me, self._put is not None
        if found is not None and not mine and (tried or not self._names.may_have(self.dpid, found)):
            if tried:
                self._names.displaced(self.dpid)
            return self._stand_by(found)
        if not mine and not tried:
            # Then look whether it was ours that stayed.
            return self._put_plate() + self.ask(now_s)
        self.whose = Whose.OURS
        if not mine:
            self.refused = self.refused or "it does not say that it has it"
        return b""

    def _stand_by(self, found: Name) -> bytes:
        """Leave a switch to another, and have it send us nothing meanwhile."""
        self._names.held[self.dpid] = found
        first, self.whose = self.whose is Whose.UNKNOWN, Whose.ANOTHERS
        return struct.pack("!BBHI24x", 4, _SET_ASYNC, 32, 0) if first else b""

    def _put_plate(self) -> bytes:
        """Our name, over whatever is there."""
        self._put = next(self._xids)
        return wire.change(self._names.me.plate, self._put) + wire.barrier(0)


def _names_in(listed: Iterable[Any]) -> Name | None:
    for stats in listed:
        if stats.cookie & KIND_MASK == pack(Kind.NAMEPLATE):
            return Name(stats.cookie & 0xFFFFFFFF, stats.cookie >> 32 & 0xFFFF)
    return None
