"""A probe of a path's MTU is read as it was written, and nothing else is taken for one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import ipv4, ipv6, udp
from os_ken.lib.packet.packet import Packet

from vte_agent.probing.long_packets import HEADER_BYTES, packet
from vte_agent.probing.mtu_wire import LEAST_BYTES, NUMBERS, BadMtuProbe, MtuProbe, decode, encode

PROBES = st.builds(MtuProbe, st.integers(0, NUMBERS - 1), st.integers(LEAST_BYTES, 9216), st.booleans())
ENDS: dict[int, tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]] = {
    4: (IPv4Address("100.96.0.0"), IPv4Address("100.96.0.1")),
    6: (IPv6Address("fd00::1"), IPv6Address("fd00::2")),
}


@given(PROBES)
def test_a_probe_is_read_as_it_was_written(probe: MtuProbe) -> None:
    data = encode(probe)
    assert decode(data) == probe
    assert len(data) == (LEAST_BYTES if probe.is_answer else probe.length)


def test_the_bytes_do_not_drift() -> None:
    assert encode(MtuProbe(0x01020304, 14)) == bytes.fromhex("4c54 01 00 01020304 0000000e 0000")
    assert encode(MtuProbe(0x01020304, 1412, is_answer=True)) == bytes.fromhex("4c54 01 01 01020304 00000584")


@given(PROBES, st.integers(1, 100))
def test_what_did_not_come_whole_or_has_something_behind_it_is_none(probe: MtuProbe, more: int) -> None:
    data = encode(probe)
    for other in (data[:-more], data + bytes(more)):
        with pytest.raises(BadMtuProbe):
            decode(other)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda more: b"\x4c\x54\x01" + more))
def test_other_bytes_are_refused_or_are_what_they_say(data: bytes) -> None:
    try:
        probe = decode(data)
    except BadMtuProbe:
        return
    assert encode(probe)[:LEAST_BYTES] == data[:LEAST_BYTES] and len(encode(probe)) == len(data)


def test_a_length_that_no_probe_has_is_refused() -> None:
    with pytest.raises(ValueError, match="12 bytes at least"):
        encode(MtuProbe(1, LEAST_BYTES - 1))


@given(st.sampled_from([4, 6]), st.integers(1, 65535), st.binary(max_size=60))
def test_a_packet_is_what_another_one_makes_of_it(version: int, port: int, data: bytes) -> None:
    source, target = ENDS[version]
    made = packet(source, target, port, data)
    assert len(made) == HEADER_BYTES[version] + len(data)
    near, far = str(source), str(target)
    if version == 4:
        head = ipv4.ipv4(src=near, dst=far, proto=17, ttl=255, flags=2)
    else:
        head = ipv6.ipv6(src=near, dst=far, nxt=17, hop_limit=255)
    other = Packet()
    for part in (head, udp.udp(port, port), data):
        other.add_protocol(part)
    other.serialize()
    assert made == bytes(other.data)
