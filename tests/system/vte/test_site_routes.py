"""The routes of a site whose tunnels come and go: nothing leaks or is left behind, classes go their own way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.vte.flow import flow
from tests.system.vte.steered import both_alive, flows, running, settled, taken
from tests.system.vte.two_sites import PREFIXES, TwoSites, open_in, two_sites
from tests.system.waiting import wait_until
from vte_agent.failover import GRACE_S

_ALL_PROTOCOLS = 0x0003
_OURS = bytes((10, 201))


def leaked(watch: socket.socket) -> int:
    """How many packets between the sites came by the internet since last asked."""
    count = 0
    while True:
        try:
            frame = watch.recv(2048)
        except BlockingIOError:
            return count
        count += frame[12:14] == b"\x08\x00" and frame[30:32] == _OURS


@contextmanager
def watched(world: TwoSites, device: str) -> Iterator[socket.socket]:
    def made() -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        source = socket.socket(socket.AF_PACKET, kind, socket.htons(_ALL_PROTOCOLS))
        source.bind((device, 0))
        return source

    with open_in(world.internet, made) as source:
        yield source


def test_nothing_leaves_unencrypted_whatever_dies() -> None:
    with running() as world, watched(world, "wana") as watch, flow(world.a, world.b) as receiver:
        flows(receiver)
        for tunnel in world.tunnels:
            world.way(tunnel, "drop")
        wait_until(lambda: taken(world.a) is None, GRACE_S + 5, "a route is left")
        # The devices go as well, and with them what the kernel keeps for them.
        for tunnel in world.tunnels:
            world.a.run("ip", "link", "set", tunnel, "down")
            world.way(tunnel, None)
        wait_until(lambda: "t1" not in world.a.run("ip", "route", "show", "table", "7600"), 5, "routes stay")
        for tunnel in world.tunnels:
            world.a.run("ip", "link", "set", tunnel, "up")
        settled(world)
        flows(receiver)
        assert leaked(watch) == 0
        # The watch sees what it should: without the agent's rules the same flow takes the default route.
        world.a.stop()
        wait_until(lambda: leaked(watch) > 0, 5, "nothing is seen on the internet's side")


def test_clean_up_is_exact() -> None:
    with two_sites() as world:
        before = world.a.state(), world.b.state()
        world.start(classes=[{"name": "voice", "number": 1, "matches": [{"protocol": 17, "dscp": 46}]}])
        settled(world)
        assert world.a.state() != before[0]
        for site in (world.a, world.b):
            site.stop()
        assert (world.a.state(), world.b.state()) == before


def test_an_agent_that_was_killed_is_taken_over_from_without_a_gap() -> None:
    with running() as world, flow(world.a, world.b) as receiver:
        flows(receiver)
        before = world.a.state()
        world.a.kill()
        wanted = world.wanted("a")
        world.a.start(wanted)
        settled(world)
        flows_since = len(receiver.read())
        wait_until(lambda: len(receiver.read()) > flows_since + 20, 5, "no packet comes any more")
        assert receiver.longest_silence_s() < 0.1
        assert world.a.state() == before


def test_two_applications_take_two_ways() -> None:
    routes = [
        {"prefixes": [PREFIXES["b"]], "tunnels": ["t1", "t2"]},
        {"prefixes": [PREFIXES["b"]], "tunnels": ["t2", "t1"], "class_name": "voice"},
    ]
    classes = [{"name": "voice", "number": 3, "matches": [{"protocol": 17, "ports": [7002, 7002]}]}]
    with two_sites() as world:
        world.b.start(world.wanted("b"))
        world.a.start(world.wanted("a", routes=routes, classes=classes))
        for site in (world.a, world.b):
            wait_until(lambda site=site: both_alive(site), 10, "the tunnels do not come up")  # type: ignore[misc]
        wait_until(lambda: [r["tunnel"] for r in world.a.ask("report")["routes"]] == ["t1", "t2"], 5, "no ways")
        with flow(world.a, world.b) as bulk, flow(world.a, world.b, 7002) as voice:
            for receiver in (bulk, voice):
                flows(receiver)
            world.way("t2", "drop")
            wait_until(lambda: world.a.ask("report")["routes"][1]["tunnel"] == "t1", 5, "the class stays")
            seen = len(voice.read())
            wait_until(lambda: len(voice.read()) > seen + 20, 5, "no packet comes any more")
            assert 0.05 < voice.longest_silence_s() < 0.2
            assert bulk.longest_silence_s() < 0.05


def test_what_comes_by_one_tunnel_and_goes_by_another_is_not_dropped_by_a_strict_kernel() -> None:
    with two_sites() as world:
        world.b.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        world.start()
        settled(world)
        world.way("t1", "drop", to="b")
        wait_until(lambda: taken(world.a) == "t2", 5, "the sender stays")
        assert taken(world.b) == "t1"
        with flow(world.a, world.b) as receiver:
            flows(receiver)
