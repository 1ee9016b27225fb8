"""An agent that is killed between any two things that it does to its node: the next run makes the rest so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.unit.fake_nft import FakeNft
from tests.unit.test_agent_hands import (
    KEYS,
    OTHERS,
    OUTER,
    FakeBridging,
    FakeProber,
    FakeSteering,
    FakeUplinks,
    believed,
    member,
    tunnel,
    uplink,
)
from vte_agent import segmentation
from vte_agent.believing import Believed
from vte_agent.goals import goals_of
from vte_agent.hands import Hands
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.filters import Filters
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint
from vte_agent.segmentation import compile_filters
from vte_agent.tunnels.contract import PeerEnd, TunnelSpec
from vte_agent.tunnels.fake import FakeNetwork

ROUNDS = 4
"""So many, and there is nothing left to do."""

DOES = {"create", "connect", "delete", "set_mtu", "add", "remove", "search_mtu", "want", "apply", "clear"}
"""What changes something, of all that the hands have hold of."""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, nor does what it would do about an error."""


class Mortal:
    """Lets calls through to something, and `before` each that changes something is asked."""

    def __init__(self, inner: object, before: Callable[[str], None]) -> None:
        self._inner, self._before = inner, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in DOES:
            return found

        def act(*arguments: Any) -> Any:
            self._before(name)
            return found(*arguments)

        return act


class Node:
    """Node 1, whose kernel outlives its agents, and node 2 with the other ends of its tunnels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network = FakeNetwork()
        self.bridging = FakeBridging()
        self.done: list[str] = []
        self.left = -1
        """How much more is done until it is killed; below 0: it is not."""
        self.nft = FakeNft(monkeypatch, self.before)
        self.far = {
            name: self.network.node("n2").create(self.spec(2, name)) for name in ("stays", "goes", "comes")
        }
        self.live(self.wanted("stays", "goes"))
        self.stays = self.network.device("n1", self.spec(1, "stays").device)

    @staticmethod
    def spec(serial: int, name: str) -> TunnelSpec:
        other = 3 - serial
        wished = goals_of(
            replace(believed(tunnel(name, peer=other)), peers={other: member(other)}),
            member(serial),
            (uplink(serial),),
            {Transport.WIREGUARD},
            lambda *_: bytes(32),
        )
        return wished.goals[name].spec

    def wanted(self, *names: str, filters: Filters | None = None) -> Believed:
        ends = [tunnel(name, endpoint=Endpoint(address=OUTER[2], port=self.far[name].port)) for name in names]
        keys = {name: key for name in names if (key := self.far[name].public_key)}
        return believed(*ends, keys=keys, filters=filters)

    def before(self, what: str) -> None:
        if hasattr(self, "stays"):
            assert self.passes("stays"), f"its packets are lost before {what}, after {self.done}"
        if self.left == 0:
            raise Killed
        self.left -= 1
        self.done.append(what)

    def live(self, wanted: Believed, until: int = -1) -> tuple[FakeProber, FakeSteering]:
        """One agent, until it is killed or has nothing to do any more; what is gone with it."""
        hands, prober, steering = self.agent()
        prober.healths = {one.name: TunnelHealth(mtu=1400) for one in wanted.tunnels}
        self.left = until
        try:
            for _ in range(ROUNDS):
                hands._round(wanted)
                self.far_ends_hear()
        except Killed:
            self.far_ends_hear()
        return prober, steering

    def agent(self) -> tuple[Hands, FakeProber, FakeSteering]:
        """The next run of the agent, that has done nothing yet."""
        prober, steering = FakeProber(), FakeSteering()
        hands = Hands(
            member(1),
            cast(Any, FakeUplinks()),
            cast(Any, {Transport.WIREGUARD: Mortal(self.network.node("n1"), self.before)}),
            lambda peer, name: KEYS[1].pair_secret(member(1), peer, name),
            cast(Any, Mortal(prober, self.before)),
            cast(Any, Mortal(steering, self.before)),
            cast(Any, Mortal(self.bridging, self.before)),
            lambda _: None,
        )
        return hands, prober, steering

    def far_ends_hear(self) -> None:
        """Node 2 is told the key of each end, once: a key that is another later is one too many."""
        for name in self.far:
            spec = self.spec(1, name)
            if spec.device not in self.network.node("n1").found():
                continue
            end = self.network.node("n1").create(spec)
            secret = KEYS[2].pair_secret(member(2), member(1), name)
            device = self.network.device("n2", self.spec(2, name).device)
            if device.peer is None:
                self.network.node("n2").connect(self.spec(2, name), PeerEnd(end.public_key, secret, None))

    def passes(self, name: str) -> bool:
        return self.network.passes("n1", self.spec(1, name).device)

    def check(self, prober: FakeProber, steering: FakeSteering) -> None:
        """All is as wanted, and nothing more; what was there all the time is the same one."""
        devices: Mapping[str, str] = {name: self.spec(1, name).device for name in ("stays", "comes")}
        assert set(self.network.node("n1").found()) == set(devices.values()), self.done
        assert self.passes("stays") and self.passes("comes"), self.done
        assert self.network.device("n1", devices["stays"]) is self.stays
        assert set(prober.probed) == set(devices) and steering.steered.devices == devices
        assert self.nft.body(segmentation.TABLE) == compile_filters(OTHERS).body


def test_wherever_an_agent_is_killed_in_a_change_the_next_one_ends_it_and_other_tunnels_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch)
    node.done.clear()
    node.check(*node.live(node.wanted("stays", "comes", filters=OTHERS)))
    assert {"create", "connect", "add", "delete", "want", "apply", "set_mtu"} <= set(node.done)
    steps = len(node.done)
    for first in range(steps):
        for second in (0, 1, first // 2, first, steps):
            node = Node(monkeypatch)
            wanted = node.wanted("stays", "comes", filters=OTHERS)
            node.live(wanted, first)
            node.live(wanted, second)
            node.check(*node.live(wanted))
