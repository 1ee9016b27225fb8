"""Fast-failover groups to GroupMods, and groups that a switch reported back to ours."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from stitching.rules import PORT_IN_PORT, Failover

_VERSION, _GROUP_MOD = 4, 15
_ADD, _DELETE = 0, 2
_ALL, _FAST_FAILOVER = 0, 3
_ANY = 0xFFFFFFFF
_OUTPUT = 0

_HEAD = struct.Struct("!BBHIHBxI")
_BUCKET = struct.Struct("!HHIIxxxx")
_OUT = struct.Struct("!HHIHxxxxxx")


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


def group_mod(group: Failover, xid: int, *, remove: bool = False) -> bytes:
    """The message that adds a group, or removes it; none of ours ever changes: its number says what it is."""
    buckets = b"" if remove else _buckets(group)
    kind = _ALL if isinstance(group, Alive) else _FAST_FAILOVER
    command = _DELETE if remove else _ADD
    return _HEAD.pack(_VERSION, _GROUP_MOD, 16 + len(buckets), xid, command, kind, group.group_id) + buckets


def _buckets(group: Failover) -> bytes:
    if isinstance(group, Alive):
        return _BUCKET.pack(16, 0, _ANY, _ANY)
    return b"".join(_bucket(port_no) for port_no in group.ports)


def _bucket(port_no: int) -> bytes:
    watch = (_ANY, ALIVE.group_id) if port_no == PORT_IN_PORT else (port_no, _ANY)
    return _BUCKET.pack(32, 0, *watch) + _OUT.pack(_OUTPUT, 16, port_no, 0)


def read_group(stats: Any) -> Failover | None:
    """A group that a switch reported (os-ken's OFPGroupDescStats), None where it is none of ours."""
    if stats.group_id == ALIVE.group_id:
        return ALIVE if stats.type == _ALL and _seen(stats) == ((_ANY, _ANY, ()),) else None
    second = stats.group_id & 0xFFFF
    group = Failover((stats.group_id >> 16, PORT_IN_PORT if second == PORT_IN_PORT & 0xFFFF else second))
    wanted = tuple(
        (_ANY, ALIVE.group_id, (port_no,)) if port_no == PORT_IN_PORT else (port_no, _ANY, (port_no,))
        for port_no in group.ports
    )
    return group if stats.type == _FAST_FAILOVER and _seen(stats) == wanted else None


def _seen(stats: Any) -> tuple[tuple[int, int, tuple[int | None, ...]], ...]:
    """What each bucket watches and the ports it sends to, None for anything else it does."""
    return tuple(
        (
            bucket.watch_port,
            bucket.watch_group,
            tuple(action.port if action.type == _OUTPUT else None for action in bucket.actions),
        )
        for bucket in stats.buckets
    )
