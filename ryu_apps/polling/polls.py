"""What a switch is asked for its counters, and how its answers read: OpenFlow 1.3 multipart messages."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any

from ryu_apps.events import Pair
from ryu_apps.polling.counters import Reading, duration
from ryu_apps.wire import FlowStats, read_match
from stitching import cookie
from stitching.cookie import Kind
from stitching.policy.compiling import PAIR
from stitching.rules import LEAST_METER, Table

REPLY_MORE = 1
"""The flag of a part that is not the last (OFPMPF_REPLY_MORE)."""

_ANY = 0xFFFFFFFF
_LAST_PORT = 0xFFFFFF00
_HEADER = struct.Struct("!BBHI")


class Question(IntEnum):
    """What is asked: all ports, the rules that count demands, the rules of stitches, or meters."""

    PORTS = 0
    DEMANDS = 1
    STITCHES = 2
    METERS = 3


def request(question: Question, xid: int) -> bytes:
    """The message that asks it."""
    body = _BODIES[question]
    return _HEADER.pack(4, 18, _HEADER.size + len(body), xid) + body


def stitch_request(stitch_id: int, xid: int) -> bytes:
    """The message that asks for the rules of one stitch."""
    of_it = cookie.pack(Kind.STITCH, stitch=stitch_id), cookie.KIND_MASK | 0xFFFFFFFF
    return _HEADER.pack(4, 18, _HEADER.size + len(_BODIES[Question.STITCHES]), xid) + _flow_body(
        Table.STITCH, *of_it
    )


def port_readings(body: Iterable[Any]) -> tuple[list[Reading[int]], list[Reading[int]], list[Reading[int]]]:
    """Bytes sent, bytes received and packets dropped on the way out, by port number, from OFPPortStats."""
    tx: list[Reading[int]] = []
    rx: list[Reading[int]] = []
    drops: list[Reading[int]] = []
    for stats in body:
        port_no = stats[0]
        # By position: there are tens of thousands of these a second. Above are reserved ports, such as LOCAL.
        if port_no < _LAST_PORT:
            age_s = duration(stats[13], stats[14])
            rx.append(Reading(port_no, stats[3], age_s))
            tx.append(Reading(port_no, stats[4], age_s))
            drops.append(Reading(port_no, stats[6], age_s))
    return tx, rx, drops


DemandKey = tuple[Pair, int, bytes]
"""A rule that counts a part of a demand: the pair, its priority, and what it matches besides the two hosts."""


def demand_rates(rates: Mapping[DemandKey, float], unknown: Iterable[DemandKey]) -> dict[Pair, float]:
    """The rate of each pair: the sum of its rules, absent where one of them has none."""
    summed: dict[Pair, float] = {}
    for (pair, _, _), rate in rates.items():
        summed[pair] = summed.get(pair, 0.0) + rate
    for pair, _, _ in unknown:
        summed.pop(pair, None)
    return summed


def demand_readings(entries: Iterable[FlowStats]) -> Iterator[Reading[DemandKey]]:
    """Bytes by rule, from the segmentation rules that let one host send to another.

    Every packet meets one of them: those of a pair add up to its demand.
    """
    for stats in entries:
        match = read_match(stats.match)
        # An address with a mask is of a rule for broadcast.
        if match is None or match.eth_src is None or match.eth_dst is None or match.eth_dst_mask is not None:
            continue
        if _is_of(stats, Kind.SEGMENT, Table.SEGMENT):
            age_s = duration(stats.duration_sec, stats.duration_nsec)
            more = b"" if stats.priority == PAIR else stats.match
            yield Reading(((match.eth_src, match.eth_dst), stats.priority, more), stats.byte_count, age_s)


def stitch_readings(entries: Iterable[FlowStats], sources: Mapping[int, frozenset[str]]) -> Iterator[Reading[int]]:
    """Bytes by stitch id, from the rules of the switch where the stitches begin.

    sources are the MACs of the hosts whose packets enter a stitch here; what else passes is left out, as are
    packets that came back with their label on. One of an application has a rule for IPv4 and one for IPv6.
    """
    readings: dict[int, Reading[int]] = {}
    for stats in entries:
        stitch_id, match = cookie.stitch_of(stats.cookie), read_match(stats.match)
        if match is None or match.eth_src not in sources.get(stitch_id, ()) or match.vlan_vid is not None:
            continue
        if _is_of(stats, Kind.STITCH, Table.STITCH):
            age_s = duration(stats.duration_sec, stats.duration_nsec)
            other = readings.get(stitch_id)
            if other is None:
                readings[stitch_id] = Reading(stitch_id, stats.byte_count, age_s)
            else:
                readings[stitch_id] = other._replace(value=other.value + stats.byte_count)
    return iter(readings.values())


def meter_counts(body: Iterable[Any]) -> dict[int, int]:
    """Packets that came to each meter of ours, by its number, from OFPMeterStats."""
    return {stats.meter_id: stats.packet_in_count for stats in body if stats.meter_id >= LEAST_METER}


def _is_of(stats: FlowStats, kind: Kind, table: Table) -> bool:
    ours = cookie.is_ours(stats.cookie) and cookie.kind_of(stats.cookie) == kind
    return ours and stats.table_id == table


def _flow_body(table: Table, of: int, mask: int) -> bytes:
    """A request for the flow entries of one table whose cookies are like this one."""
    return (
        struct.pack("!HHxxxx", 1, 0)
        + struct.pack("!BxxxIIxxxxQQ", table, _ANY, _ANY, of, mask)
        + struct.pack("!HHxxxx", 1, 4)
    )


_BODIES = {
    Question.PORTS: struct.pack("!HHxxxxIxxxx", 4, 0, _ANY),
    Question.DEMANDS: _flow_body(Table.SEGMENT, cookie.pack(Kind.SEGMENT), cookie.KIND_MASK),
    Question.METERS: struct.pack("!HHxxxxIxxxx", 9, 0, _ANY),
    Question.STITCHES: _flow_body(Table.STITCH, cookie.pack(Kind.STITCH), cookie.KIND_MASK),
}
