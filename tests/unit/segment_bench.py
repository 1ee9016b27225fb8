"""Segments between two networks over three switches in a triangle, with or without some of its links."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from ryu_apps.events import NetworkChanged, VnetsChanged
from stitching.network import Host, LinkKey, Network, reverse
from stitching.segment import SegmentRequest, SegmentTree, Side
from stitching.stitch import State, Stitch
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import A, B, Bench, C, D, MemoryStore, store, triangle

__all__ = ["store"]

SEGMENT = SegmentRequest(Side("red"), Side("blue"), 2.0)
VNETS = (VNet("red", (Member(A, "a"), Member(C, "c"))), VNet("blue", (Member(B, "b"), Member(D, "d"))))
HOST_A, HOST_B = Host(A, 1, 10, frozenset({"10.0.0.1"})), Host(B, 2, 10, frozenset({"10.0.0.2"}))
HOST_C, HOST_D = Host(C, 3, 10, frozenset({"10.0.0.3"})), Host(D, 3, 11, frozenset({"10.0.0.4"}))
DIRECT: LinkKey = (1, 2, 2, 1)
"""The link between the switches of hosts a and b."""


@pytest.fixture
def bench(store: MemoryStore) -> Bench:
    bench = Bench(store)
    bench.on_vnets(VnetsChanged(VNETS))
    see(bench, HOST_A, HOST_B)
    bench.connect()
    return bench


def see(bench: Bench, *hosts: Host, without: Collection[LinkKey] = ()) -> None:
    """The triangle with these hosts, and without these links."""
    whole = triangle()
    gone = {*without, *map(reverse, without)}
    links = {key: link for key, link in whole.links.items() if key not in gone}
    bench.on_network(NetworkChanged(Network(whole.switches, links, {host.mac: host for host in hosts})))


def prove(bench: Bench) -> Stitch:
    bench.confirm()
    bench.all_probes_cross()
    return bench.stitch()


def up(bench: Bench, request: SegmentRequest = SEGMENT) -> Stitch:
    bench._desk.create(request)
    stitch = prove(bench)
    assert stitch.state is State.UP, stitch.reason
    return stitch


def tree(stitch: Stitch) -> SegmentTree:
    assert isinstance(stitch.path, SegmentTree)
    return stitch.path


def members(stitch: Stitch) -> set[str]:
    return {member.mac for member in tree(stitch).members}
