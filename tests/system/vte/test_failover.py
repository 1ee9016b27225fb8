"""A site whose tunnel dies, goes deaf one way, or loses packets: its routes take another.

No controller is there in any of these tests.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.system.vte.flow import flow
from tests.system.vte.steered import flows, running, settled, taken
from tests.system.waiting import wait_until

CUTS = 3


@pytest.mark.parametrize(("interval_ms", "most_ms"), [(50, 200), (20, 90)])
def test_when_a_tunnel_is_cut_silently_the_flow_is_silent_for_a_moment(interval_ms: int, most_ms: int) -> None:
    with running(interval_ms=interval_ms) as world, flow(world.a, world.b) as receiver:
        for _ in range(CUTS):
            settled(world)
            flows(receiver)
            tunnel = taken(world.a)
            assert tunnel
            world.way(tunnel, "drop")
            wait_until(lambda cut=tunnel: taken(world.a) not in (cut, None), 5, "the route stays")  # type: ignore[misc]
            seen = len(receiver.read())
            wait_until(lambda seen=seen: len(receiver.read()) > seen + 20, 5, "no packet comes any more")  # type: ignore[misc]
            assert receiver.longest_silence_s() * 1e3 < most_ms
            world.way(tunnel, None)


def test_loss_one_way_moves_the_sender_and_nobody_else() -> None:
    with running() as world, flow(world.a, world.b) as there, flow(world.b, world.a) as back:
        for receiver in (there, back):
            flows(receiver)
        world.way("t1", "drop", to="b")
        wait_until(lambda: taken(world.a) == "t2", 5, "the sender stays")
        seen = len(there.read())
        wait_until(lambda: len(there.read()) > seen + 200, 5, "no packet comes any more")
        assert taken(world.b) == "t1", world.b.ask("report")["routes"]
        assert there.longest_silence_s() < 0.25
        assert back.longest_silence_s() < 0.05
        assert world.a.ask("report")["routes"][0]["why"] == "t1: the other end does not hear us"


@pytest.mark.parametrize(
    ("words", "why"), [("numgen inc mod 20 == 0 drop", "t1 loses 5% or more on the way there")]
)
def test_a_tunnel_that_loses_packets_is_left_within_three_seconds(words: str, why: str) -> None:
    with running() as world:
        world.way("t1", words, to="b")
        wait_until(lambda: taken(world.a) == "t2", 3, "the route stays")
        assert world.a.ask("report")["routes"][0]["why"] == why
        assert taken(world.b) == "t1"


def test_a_prober_that_is_killed_costs_no_packet_and_routes_follow_tunnels_afterwards() -> None:
    with running() as world, flow(world.a, world.b) as receiver:
        flows(receiver)
        assert world.a.process
        (prober,) = children(world.a.process.pid)
        os.kill(prober, signal.SIGKILL)
        wait_until(lambda: children(world.a.process.pid) not in ([], [prober]), 10, "it is not started again")  # type: ignore[union-attr]
        settled(world)
        assert receiver.lost() == 0
        world.way("t1", "drop")
        wait_until(lambda: taken(world.a) == "t2", 5, "the route stays")


def children(pid: int) -> list[int]:
    """What a process has started, whichever of its threads has."""
    return [
        int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
    ]
