"""Fast-failover groups to GroupMods, and groups that a switch reported back to ours."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from ryu_apps.wire.flows import encode_actions, read_actions
from stitching.rules import (
    FIRST_BYPASS,
    PORT_IN_PORT,
    Action,
    Bypass,
    Failover,
    First,
    Group,
    Output,
    PopLabel,
    PushLabel,
)

_VERSION, _GROUP_MOD = 4, 15
_ADD, _MODIFY, _DELETE = 0, 1, 2
_ALL, _FAST_FAILOVER = 0, 3
_ANY = 0xFFFFFFFF

_HEAD = struct.Struct("!BBHIHBxI")
_BUCKET = struct.Struct("!HHIIxxxx")


@dataclass(frozen=True, slots=True)
class Alive(Failover):
    """A group without ports that is always alive.

    A bucket of a fast-failover group has to watch something: Open vSwitch refuses one that watches nothing, and
    takes one that watches a reserved port other than LOCAL for dead. A bucket that sends a packet back is to be
    alive whatever happens, so it watches this group, which passes nothing on.
    """

    ports: tuple[int, int] = (0, 0)

    @property
    def group_id(self) -> int:
        """The one number of it."""
        return 0x4C00


ALIVE = Alive()


def group_mod(group: Group, xid: int, *, remove: bool = False, replace: bool = False) -> bytes:
    """The message that adds a group, changes the one of its number, or removes it."""
    buckets = b"" if remove else b"".join(_bucket(watch, does) for watch, does in _buckets(group))
    kind = _ALL if isinstance(group, Alive) else _FAST_FAILOVER
    command = _DELETE if remove else _MODIFY if replace else _ADD
    return _HEAD.pack(_VERSION, _GROUP_MOD, 16 + len(buckets), xid, command, kind, group.group_id) + buckets


Watch = tuple[int, int]
"""The port and the group that a bucket watches."""

_WATCH_NOTHING, _WATCH_ALIVE = (_ANY, _ANY), (_ANY, ALIVE.group_id)


def _buckets(group: Group) -> tuple[tuple[Watch, tuple[Action, ...]], ...]:
    """What each bucket of a group watches and does."""
    if isinstance(group, Alive):
        return ((_WATCH_NOTHING, ()),)
    if isinstance(group, Failover):
        return tuple(
            (_WATCH_ALIVE if port_no == PORT_IN_PORT else (port_no, _ANY), (Output(port_no),))
            for port_no in group.ports
        )
    first: dict[First, tuple[Action, ...]] = {
        First.OUT: (Output(group.port_no),),
        First.BACK: (Output(PORT_IN_PORT),),
        First.NOTHING: (),
    }
    round_it = (PopLabel(), PushLabel(group.vlan_vid), Output(group.via))
    return ((group.port_no, _ANY), first[group.first]), (_WATCH_ALIVE, round_it)


def _bucket(watch: Watch, does: tuple[Action, ...]) -> bytes:
    actions = encode_actions(does)
    return _BUCKET.pack(16 + len(actions), 0, *watch) + actions


def read_group(stats: Any) -> Group | None:
    """A group that a switch reported (os-ken's OFPGroupDescStats), None where it is none of ours."""
    group: Group | None
    if stats.group_id == ALIVE.group_id:
        group = ALIVE
    elif stats.group_id >= FIRST_BYPASS:
        group = _read_bypass(stats)
    else:
        second = stats.group_id & 0xFFFF
        group = Failover((stats.group_id >> 16, PORT_IN_PORT if second == PORT_IN_PORT & 0xFFFF else second))
    kind = _ALL if isinstance(group, Alive) else _FAST_FAILOVER
    if group is None or stats.type != kind or stats.group_id != group.group_id:
        return None
    return group if _seen(stats) == _buckets(group) else None


def _read_bypass(stats: Any) -> Bypass | None:
    """What a group of such a number would be, to be held against what it is."""
    match _seen(stats):
        case ((port_no, _), first), (_, (PopLabel(), PushLabel(vid), Output(via))):
            does = First.NOTHING if not first else First.BACK if first == (Output(PORT_IN_PORT),) else First.OUT
            return Bypass(port_no, vid, via, does)
    return None


def _seen(stats: Any) -> tuple[tuple[Watch, tuple[Action | None, ...]], ...]:
    """What each bucket watches and does, None for what ours never do."""
    return tuple(
        ((bucket.watch_port, bucket.watch_group), tuple(read_actions(bucket.actions))) for bucket in stats.buckets
    )
