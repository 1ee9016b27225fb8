"""Routes, rules and marks in a real kernel: only what is ours is touched, and a packet meets what was wanted."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from pyroute2.netlink import NETLINK_NETFILTER

from tests.system.vte.two_sites import Site
from vte_agent import programs
from vte_agent.class_marks import class_marks
from vte_agent.marks import class_mark, outer_mark
from vte_agent.nft import Generations, NftFailed
from vte_agent.protocol.wanted import Match, WantedClass
from vte_agent.route_tables import NO_WAYS, UplinkWay, Ways
from vte_agent.routing import Router
from vte_agent.tables import AGAIN_EVERY_S, names_of
from vte_agent.uplinks import Uplinks

V4, V6 = ip_network("10.9.0.0/16"), ip_network("fd09::/48")
NEVER_TOUCHED = (
    *("rule add pref 7600 table 7601 proto static", "rule add pref 100 fwmark 0x5 table 55"),
    *("route add 10.9.0.0/16 dev one table 7601 metric 77", "route add 10.7.0.0/16 dev one proto 76"),
)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site("a", f"v{os.getpid() % 10000}{secrets.token_hex(1)}-r")
    try:
        for number, device in enumerate(("one", "two"), 1):
            made.run("ip", "link", "add", device, "type", "veth", "peer", "name", f"{device}far")
            made.run("ip", "addr", "add", f"10.8.{number}.1/24", "dev", device)
            for end in (device, f"{device}far"):
                made.run("ip", "link", "set", end, "up")
        yield made
    finally:
        made.close()


def way(site: Site, destination: str, mark: int = 0) -> str:
    """The device that a packet takes, or what happens to it."""
    version = "-6" if ":" in destination else "-4"
    words = ["ip", "netns", "exec", site.namespace, "ip", version, "route", "get", destination, "mark", hex(mark)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
    if done.returncode != 0:
        return done.stderr.strip()
    fields = done.stdout.split()
    return fields[fields.index("dev") + 1]


def test_packets_take_the_way_of_their_class_and_no_other(site: Site) -> None:
    devices = {(V4, None): "one", (V4, "voice"): "two", (V6, None): "two", (V6, "voice"): None}
    site.run("ip", "route", "add", "default", "dev", "two")
    with site.inside(), Router() as router:
        assert router.apply(Ways(devices, {"voice": 3}, local=(ip_network("10.9.1.0/24"),))) == ()
        voice, unknown = class_mark(3), class_mark(9)
        assert [way(site, "10.9.0.5", mark) for mark in (0, voice, unknown, 0x5)] == ["one", "two", "one", "one"]
        assert way(site, "fd09::1") == "two"
        assert "No route to host" in way(site, "fd09::1", voice)
        assert way(site, "10.9.1.5") == "two", "the site's own are thrown back to the main table"
        assert way(site, "10.9.0.5", outer_mark(1)) == "two", "outer packets are not the tunnels' own"
        devices[V4, None] = None
        assert router.apply(Ways(devices, {"voice": 3})) == ()
        assert "No route to host" in way(site, "10.9.0.5")
        assert way(site, "10.9.0.5", voice) == "two"


def test_a_prefix_of_a_class_only_never_leaves_in_clear(site: Site) -> None:
    site.run("ip", "route", "add", "default", "dev", "two")
    with site.inside(), Router() as router:
        router.apply(Ways({(V4, "voice"): "one"}, {"voice": 3}))
        assert "No route to host" in way(site, "10.9.0.5")


def test_what_is_added_changes_nothing_and_guards_what_has_no_way(site: Site) -> None:
    other = ip_network("10.11.0.0/16")
    site.run("ip", "route", "add", "default", "dev", "two")
    with site.inside():
        with Router() as router:
            router.apply(Ways({(V4, None): "one", (V4, "voice"): "two"}, {"voice": 3}))
        before = kernel(site)
        with Router() as router:
            assert router.add(Ways({(V4, None): None}, {})) == ()
            assert kernel(site) == before
            assert router.add(Ways({(V4, None): None, (other, None): None}, {}, local=(V4,))) == ()
        assert way(site, "10.9.0.5") == "one" and way(site, "10.9.0.5", class_mark(3)) == "two"
        assert "No route to host" in way(site, "10.11.0.5")


def kernel(site: Site) -> str:
    return site.run("ip", "route", "show", "table", "all") + site.run("ip", "rule")


def test_a_device_that_goes_takes_its_route_and_not_the_guard(site: Site) -> None:
    site.run("ip", "route", "add", "default", "dev", "two")
    with site.inside(), Router() as router:
        router.apply(Ways({(V4, None): "one"}, {}))
        site.run("ip", "link", "del", "one")
        assert "No route to host" in way(site, "10.9.0.5")
        router.refresh()
        (problem,) = router.apply(Ways({(V4, None): "one"}, {}))
        assert "there is no device one" in problem


def test_outer_packets_leave_by_their_uplink(site: Site) -> None:
    uplinks = (
        UplinkWay(1, "one", ip_address("10.8.1.1"), ip_address("10.8.1.254")),
        UplinkWay(2, "two", ip_address("10.8.2.1")),
    )
    with site.inside(), Router() as router:
        assert router.apply(Ways({}, {}, uplinks=uplinks)) == ()
        assert [way(site, "203.0.113.9", outer_mark(n)) for n in (1, 2)] == ["one", "two"]
        site.run("ip", "link", "del", "one")
        assert "No route to host" in way(site, "203.0.113.9", outer_mark(1))


def test_neighbours_on_an_uplinks_link_and_hosts_of_the_site_are_not_sent_to_the_gateway(site: Site) -> None:
    address = ip_address("10.8.1.1")
    site.run("ip", "route", "add", "default", "via", "10.8.1.254", "dev", "one")
    with site.inside(), Router() as router:
        uplinks = Uplinks({"wan": "one"})
        read = uplinks.read()
        ((uplink,), _) = read
        assert uplink.on_link == (ip_network("10.8.1.0/24"),)
        own = UplinkWay(1, "one", address, uplink.gateway, uplink.on_link)
        wanted = Ways({}, {}, local=(ip_network("10.8.2.0/24"),), uplinks=(own,))
        assert router.apply(wanted) == ()
        has = site.state()
        router.refresh()
        assert router.apply(wanted) == () and site.state() == has
        assert uplinks.read() == read, "our own routes are none of the uplink's"
        uplinks.close()
        asked = ("203.0.113.9", "10.8.1.7", "10.8.2.7")
        found = [site.run("ip", "route", "get", one, "from", f"{address}").split() for one in asked]
        assert [words[words.index("dev") + 1] for words in found] == ["one", "one", "two"]
        assert ["via" in words for words in found] == [True, False, False]


def test_an_uplink_goes_by_the_name_that_tables_know_it_by(site: Site) -> None:
    site.run("ip", "link", "property", "add", "dev", "one", "altname", "enp0s31f6long")
    with site.inside():
        uplinks = Uplinks({"wan": "enp0s31f6long", "lte": "none"})
        assert uplinks.read() == (
            (),
            (
                "uplink wan: enp0s31f6long is another name of one: give one",
                "uplink lte: there is no device none",
            ),
        )
        uplinks.close()


def test_what_an_earlier_run_left_is_taken_over_and_what_is_not_ours_stays(site: Site) -> None:
    for words in NEVER_TOUCHED:
        site.run("ip", *words.split())
    before = site.state()
    wanted = Ways({(V4, None): "one", (V6, "voice"): "two"}, {"voice": 3})
    with site.inside():
        with Router() as router:
            assert router.apply(wanted) == ()
        has = site.state()
        with Router() as router:
            assert router.devices()[7600, V4] == "one"
            assert router.apply(wanted) == ()
            assert site.state() == has
            assert router.apply(Ways({(V4, None): "two"}, {})) == ()
        with Router() as router:
            assert router.clear() == ()
    assert site.state() == before


def test_applying_again_changes_nothing(site: Site) -> None:
    wanted = Ways({(V4, None): "one"}, {}, sources=(ip_address("10.8.1.1"),))
    with site.inside(), Router() as router:
        assert router.apply(wanted) == ()
        router.refresh()
        has = site.state()
        assert router.apply(wanted) == () and site.state() == has
        assert router.apply(NO_WAYS) == ()


def test_strict_reverse_path_filtering_is_loosened_on_our_device_only(site: Site) -> None:
    site.run("sysctl", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.two.rp_filter=1")
    # /proc/sys shows the namespace of the process that asks.
    site.run(sys.executable, "-c", "from vte_agent.routing import loosen; loosen(('one', 'gone'))")
    assert site.run("sysctl", "-n", "net.ipv4.conf.one.rp_filter").strip() == "2"
    assert site.run("sysctl", "-n", "net.ipv4.conf.two.rp_filter").strip() == "1"


CLASSES = (
    WantedClass(name="voice", number=3, matches=(Match(protocol=17, ports=(5000, 5010)), Match(dscp=46))),
    WantedClass(
        name="six", number=4, matches=(Match(destination=ip_network("fd09::/48")), Match(ports=(443, 443)))
    ),
)


def test_marks_are_set_in_a_table_of_our_own_which_goes_again(site: Site) -> None:
    theirs = "table inet theirs {\n chain c {\n type filter hook output priority 0;\n }\n}\n"
    site.run("nft", "-f", "-", stdin=theirs)
    before = site.state()
    with site.inside(), closing(class_marks()) as marks:
        assert marks.want(CLASSES[:1], 0.0) and marks.want(CLASSES, 0.0)
        rules = [
            e["rule"]
            for e in json.loads(site.run("nft", "-j", "list", "ruleset"))["nftables"]
            if "rule" in e and e["rule"]["table"] in names_of("lockstitch_classes")
        ]
        assert len(rules) == 2 * (1 + 3 + 2)
        assert marks.want(None, 1.0) and marks.want(None, 2.0)
    assert site.state() == before


def test_what_nft_refuses_leaves_the_table_as_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.inside(), closing(class_marks()) as marks:
        marks.want(CLASSES, 0.0)
        has = site.state()
        assert not marks.want((WantedClass.model_construct(name="x" * 500, number=5, matches=(Match(),)),), 0.0)
        assert marks.problems[0].startswith("classes are not told apart: nft: ")
        assert site.state() == has
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(programs, "ALSO", ())
        assert not marks.want((), AGAIN_EVERY_S) and "apt-get install nftables" in marks.problems[0]


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "delete table inet lockstitch_classes",
        "flush table inet lockstitch_classes",
        "flush chain inet lockstitch_classes own",
        "add rule inet lockstitch_classes own accept",
        "add table inet lockstitch_classes { flags dormant; }",
        "add chain inet lockstitch_classes own { policy drop; }",
    ],
)
def test_whatever_another_program_does_to_a_table_is_noticed_and_undone(site: Site, change: str) -> None:
    with site.inside(), closing(class_marks()) as marks:
        marks.want(CLASSES, 0.0)
        has = site.run("nft", "-s", "list", "ruleset")
        site.run("nft", "add table inet theirs; delete table inet theirs")
        assert marks.want(CLASSES, 1.0) and not marks.problems, "a change of another table is none"
        site.run("nft", change)
        assert site.run("nft", "-s", "list", "ruleset") != has
        assert marks.want(CLASSES, 2.0) and len(marks.problems) == 1
        assert site.run("nft", "-s", "list", "ruleset") == has


def test_whether_tables_were_changed_is_asked_by_one_socket_and_by_another_where_it_breaks(site: Site) -> None:
    sockets = set(kernel_sockets())
    with site.inside(), closing(Generations()) as generations:
        before = generations.read()
        (ours,) = set(kernel_sockets()) - sockets
        assert generations.read() == before
        site.run("nft", "add table inet theirs")
        changed = generations.read()
        assert changed > before and set(kernel_sockets()) - sockets == {ours}
        os.close(ours)
        with pytest.raises(NftFailed, match="does not say whether tables were changed"):
            generations.read()
        assert generations.read() == changed
        assert len(set(kernel_sockets()) - sockets) == 1
    assert set(kernel_sockets()) == sockets


def kernel_sockets() -> Iterator[int]:
    """Those of this process to the kernel's netfilter, by file descriptor."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found = socket.socket(fileno=int(each.name))
            kind, number = (found.family, found.proto), found.detach()
            if kind == (socket.AF_NETLINK, NETLINK_NETFILTER):
                yield number
