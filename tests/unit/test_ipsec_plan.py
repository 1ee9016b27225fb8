"""Both ends of an IPsec tunnel derive the same, and no two tunnels of a node the same as each other."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.ipsec_plan import MOST_MTU, OUTER_RANGE, inside_mtu, plan

BASES = (IPv4Address("100.96.0.0"), IPv6Address("fd00:6c73::"))
slots = st.integers(0, (1 << 19) - 1)


def spec(slot: int, end: int, base: IPv4Address | IPv6Address = BASES[0]) -> TunnelSpec:
    near, far = (base + 2 * slot + one for one in (end, 1 - end))
    return TunnelSpec(f"t{slot}", "ls", IPv4Address("192.0.2.1"), near, far, 1350)


@given(slot=slots, base=st.sampled_from(BASES))
def test_what_is_near_to_one_end_is_far_to_the_other(slot: int, base: IPv4Address | IPv6Address) -> None:
    a, b = (plan(spec(slot, end, base)) for end in (0, 1))
    assert (a.near, a.near_id, a.near_mac) == (b.far, b.far_id, b.far_mac)
    assert (a.far, a.far_id, a.far_mac) == (b.near, b.near_id, b.near_mac)
    assert a.vni == b.vni and a.first and not b.first
    assert a.near in OUTER_RANGE and a.far in OUTER_RANGE
    # A unicast MAC of nobody's.
    assert int(a.near_mac[:2], 16) & 3 == 2


@given(one=slots, other=slots)
def test_two_tunnels_share_nothing(one: int, other: int) -> None:
    if one != other:
        a, b = plan(spec(one, 0)), plan(spec(other, 0))
        assert len({a.near, a.far, b.near, b.far}) == 4 and a.vni != b.vni


@pytest.mark.parametrize("far", [BASES[0], BASES[1], IPv4Address("84.96.0.0")])
def test_addresses_that_cannot_be_a_tunnels_are_refused(far: IPv4Address | IPv6Address) -> None:
    with pytest.raises(TunnelFailed, match=r"two addresses|cannot be told apart"):
        plan(replace(spec(0, 0), peer_address=far))


def test_what_travels_whole() -> None:
    # IP, UDP, ESP header, IV, ICV; then 50 of VXLAN, and the ESP trailer to a multiple of 4 (RFC 4303).
    assert [inside_mtu(mtu, 4) for mtu in (1280, 1400, 1500, 9000)] == [1168, 1288, MOST_MTU, MOST_MTU]
    assert inside_mtu(1280, 6) == 1148
