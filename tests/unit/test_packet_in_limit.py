"""What a port sends too much of is not read; others, links and everything else are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps.packet_in_limit import PacketInLimit

_PROTOCOL = ProtocolDesc(version=4)


def packet_in(port_no: int, eth_type: int, metadata: int | None = None) -> bytearray:
    """A packet-in as a switch sends it."""
    fields = {"in_port": port_no} if metadata is None else {"in_port": port_no, "metadata": metadata}
    frame = bytes(12) + eth_type.to_bytes(2) + bytes(46)
    message = parser.OFPPacketIn(_PROTOCOL, 0xFFFFFFFF, len(frame), 1, 0, 0, parser.OFPMatch(**fields), frame)
    # os-ken does not encode what only switches send: head, match, two bytes of padding, frame.
    match = bytearray()
    message.match.serialize(match, 0)
    body = b"\xff" * 4 + len(frame).to_bytes(2) + b"\1\0" + bytes(8) + match + bytes(2) + frame
    return bytearray(b"\x04\x0a" + (8 + len(body)).to_bytes(2) + bytes(4) + body)


def passed(limit: PacketInLimit, message: bytearray, count: int, *, dpid: int = 1, now_s: float = 0.0) -> int:
    return sum(limit.passes(dpid, message, now_s) for _ in range(count))


@pytest.mark.parametrize("metadata", [None, 7])
def test_a_storm_is_cut_to_its_burst_and_then_to_its_rate(metadata: int | None) -> None:
    limit = PacketInLimit(rate_per_s=100.0, burst=50.0)
    storm = packet_in(3, 0x0806, metadata)
    assert passed(limit, storm, 1000) == 50
    assert limit.dropped == 950
    assert passed(limit, storm, 1000, now_s=0.2) == 20
    assert passed(limit, storm, 1000, now_s=100.0) == 50


def test_other_ports_switches_and_links_have_their_own_turn() -> None:
    limit = PacketInLimit(rate_per_s=1.0, burst=5.0)
    assert passed(limit, packet_in(3, 0x0806), 100) == 5
    assert passed(limit, packet_in(4, 0x0806), 100) == 5
    assert passed(limit, packet_in(3, 0x0806), 100, dpid=2) == 5
    assert passed(limit, packet_in(3, 0x88CC), 100) == 5
    assert passed(limit, packet_in(3, 0x88B5), 100) == 100


@given(st.binary(min_size=8, max_size=80))
def test_any_other_message_is_left_to_the_decoder(data: bytes) -> None:
    message = bytearray(data)
    message[1] = 10
    limit = PacketInLimit(rate_per_s=0.0, burst=0.0)
    if not limit.passes(1, message, 0.0):
        assert message[28:32] == b"\x80\x00\x00\x04"
    message[1] = 13
    assert limit.passes(1, message, 0.0)
