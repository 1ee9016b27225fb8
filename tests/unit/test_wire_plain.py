"""Matches read from their bytes by us: the same as by os-ken's decoder, or left to it."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.wire.fields import decoded_match, encode_match, read_match
from ryu_apps.wire.flows import flow_mod, read_flow
from ryu_apps.wire.plain import plain_match
from stitching.match import ETH_IPV4, ETH_PROBE, MULTICAST, VLAN_PRESENT, L3Match, Match
from stitching.rules import FlowRule
from tests.unit.decode import reported
from tests.unit.entries import macs, ports

plain_matches = st.builds(
    Match,
    in_port=st.none() | ports,
    eth_src=st.none() | macs,
    eth_dst=st.none() | macs,
    eth_type=st.none() | st.just(ETH_PROBE),
    vlan_vid=st.none() | st.integers(VLAN_PRESENT, VLAN_PRESENT | 0xFFF),
    **dict.fromkeys(("eth_dst_mask", "vlan_mask", "l3"), st.none()),
)


def _unpadded(match: Match) -> bytes:
    data = encode_match(match)
    return data[: int.from_bytes(data[2:4], "big")]


@given(plain_matches)
def test_what_has_plain_fields_is_read_by_us(match: Match) -> None:
    assert plain_match(_unpadded(match)) == match


def test_what_is_longer_than_any_rule_is_read_and_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(60):
            long = (number + 1).to_bytes(4) * 15_000
            read_match(long)
            read = read_flow(reported(flow_mod(FlowRule(0, 1, Match()), 1))._replace(instructions=long))
            assert read is not None and read.actions == ()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20


def test_masks_and_other_fields_are_left_to_the_decoder() -> None:
    for match in (
        Match(eth_dst=MULTICAST, eth_dst_mask=MULTICAST),
        Match(vlan_vid=VLAN_PRESENT, vlan_mask=VLAN_PRESENT),
        Match(eth_type=ETH_IPV4, l3=L3Match(ip_proto=6)),
    ):
        data = _unpadded(match)
        assert plain_match(data) is None
        assert decoded_match(data) == match


@given(plain_matches, st.data())
def test_bytes_that_are_no_match_are_never_read_as_another_one(match: Match, data: st.DataObject) -> None:
    damaged = bytearray(_unpadded(match))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for some in (bytes(damaged), cut):
        ours = plain_match(some)
        assert ours is None or ours == decoded_match(some)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_match_or_none(some: bytes) -> None:
    ours = plain_match(some)
    assert ours is None or ours == decoded_match(some)
