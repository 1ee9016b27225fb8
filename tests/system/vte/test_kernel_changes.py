"""What changes of devices, addresses, routes or rules is noticed, whoever changed it, and nothing else is."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pyroute2 import IPRoute

from tests.system.vte.two_sites import Site
from vte_agent.kernel_changes import KernelChanges, KernelLinks
from vte_agent.netlink import PerThread


@pytest.fixture
def site() -> Iterator[Site]:
    """An empty network namespace."""
    made = Site("a", f"v{os.getpid() % 10000}{secrets.token_hex(1)}-k")
    try:
        yield made
    finally:
        made.close()


CHANGES = [
    "link add one type veth peer name far",
    "link set far up",
    "link set one up",
    "addr add 10.9.0.1/24 dev one",
    "addr add fd09::1/64 dev one nodad",
    "route add 10.8.0.0/24 dev one",
    "route add fd08::/64 dev one",
    "rule add pref 77 table 77",
    "-6 rule add pref 77 table 77",
    "rule del pref 77",
    "route del 10.8.0.0/24",
    "link set one mtu 1400",
    "link del one",
]


def test_each_kind_of_change_is_noticed_once(site: Site) -> None:
    with site.inside(), KernelChanges() as changes:
        assert changes.any(), "at first nothing is known"
        assert not changes.any()
        for words in CHANGES:
            site.run("ip", *words.split())
            assert changes.any(), words
            # What the kernel does about it, as taking up an address, may come a moment later.
        while changes.any():
            pass
        site.run("ip", "link", "show")
        assert not changes.any()


def test_more_than_there_is_room_for_is_a_change(site: Site) -> None:
    site.run("ip", "link", "add", "one", "up", "type", "veth", "peer", "name", "far")
    with site.inside(), KernelChanges() as changes:
        assert changes.any()
        changes._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(200):
            site.run("ip", "route", "add", f"10.8.{number}.0/24", "dev", "one")
        assert changes.any()
        assert not changes.any()


def test_devices_are_read_again_only_where_one_is_another(site: Site) -> None:
    with site.inside(), closing(PerThread(IPRoute)) as netlink:
        links = KernelLinks(netlink, tuple)
        first = links.read()
        assert [one.get_attr("IFLA_IFNAME") for one in first] == ["lo"]
        site.run("ip", "addr", "add", "10.9.0.1/24", "dev", "lo")
        assert links.read() is first
        site.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "far")
        assert {one.get_attr("IFLA_IFNAME") for one in links.read()} == {"lo", "one", "far"}
        site.run("ip", "link", "set", "one", "alias", "ours")
        assert "ours" not in aliases(links), "of one that is down nothing is said"
        site.run("ip", "link", "set", "one", "up")
        assert "ours" in aliases(links)
        site.run("ip", "link", "set", "one", "alias", "theirs")
        assert "theirs" in aliases(links)
        site.run("ip", "link", "del", "one")
        assert [one.get_attr("IFLA_IFNAME") for one in links.read()] == ["lo"]
        links.close()


def aliases(links: KernelLinks[tuple[Any, ...]]) -> set[str | None]:
    return {one.get_attr("IFLA_IFALIAS") for one in links.read()}
