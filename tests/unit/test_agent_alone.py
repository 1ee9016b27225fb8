"""Without a controller: tunnels die and are made anew, routes move, no key is replaced, nothing piles up."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path

import pytest

from tests.unit.test_agent_hands import FAR, KEYS, OTHERS, member
from tests.unit.test_agent_killed import Node
from tests.unit.trust_world import a_channel
from vte_agent.failover import GRACE_S, Failover
from vte_agent.probing.session import Alive, Direction
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.wanted import WantedRoute
from vte_agent.reporting import Reporter

A_WHILE_S = 1800
DIES_EVERY_S, DOWN_EVERY_S = 30, 900
"""How often the process of a tunnel dies, and how often nothing comes through it for a while."""

MOST_BLOCKS = 500
"""Of memory; what is kept for ever of each second, or of each tunnel that dies, would be more than that."""

UP, DOWN = (TunnelHealth(Alive(heard=heard, hears=heard), mtu=1400) for heard in (Direction.ALIVE, Direction.DEAD))


class Alone:
    """All that an agent does by itself, a second at a time."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node, self.wanted = node, node.wanted("stays", "goes", filters=OTHERS)
        self.hands, self.prober, _ = node.agent()
        self.failover = Failover()
        self.failover.want([WantedRoute(prefixes=(FAR,), tunnels=("goes", "stays"))])
        self.reporter, self.channel = Reporter(KEYS[1], member(1)), a_channel(directory)
        self.now_s = self.moves = 0

    def second(self) -> None:
        self.now_s += 1
        is_down = self.now_s % DOWN_EVERY_S < GRACE_S
        if self.now_s % DIES_EVERY_S == 0:
            self.node.network.kill("n1", self.node.spec(1, "goes").device)
        self.prober.healths = {"stays": UP, "goes": DOWN if is_down else UP}
        self.hands._round(self.wanted)
        for move in self.failover.step(float(self.now_s), self.prober.healths):
            self.moves += 1
            self.channel.say_moved(Moved(at_s=self.now_s, prefix=f"{FAR}", after=move.to, why=move.why))
        self.channel.say_has(self.reporter.has(self.hands.snapshot, self.failover.report(), ()))


def test_an_agent_left_alone_takes_no_more_memory_and_changes_no_tunnel_that_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Whoever looks at logs here keeps them.
    caplog.set_level(logging.CRITICAL)
    node = Node(monkeypatch)
    alone = Alone(node, tmp_path)

    def a_while() -> int:
        for _ in range(A_WHILE_S):
            alone.second()
            node.done.clear()
        gc.collect()
        return sys.getallocatedblocks()

    before = a_while()
    keys = {one.name: one.key for one in alone.channel._has.tunnels}  # type: ignore[union-attr]
    moves, blocks = alone.moves, a_while()
    assert blocks - before < MOST_BLOCKS
    assert node.network.device("n1", node.spec(1, "stays").device) is node.stays and node.passes("stays")
    after = {one.name: one.key for one in alone.channel._has.tunnels}  # type: ignore[union-attr]
    assert after["stays"] == keys["stays"] and after["goes"] != keys["goes"]
    assert alone.moves > moves
