"""What every transport has to do, told once: `TunnelContract` runs over whatever world its `world` fixture gives.

A world is two nodes, 0 and 1, that can reach each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from vte_agent.protocol.base import public_text
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, TunnelFailed, Tunnels, TunnelSpec
from vte_agent.tunnels.devices import Devices

SECRET = bytes(range(1, 33))
OTHER_SECRET = bytes(range(2, 34))


class World(Protocol):
    """Two nodes and what lies between them."""

    def at(self, node: int) -> AbstractContextManager[Tunnels]:
        """Be at a node, with its tunnels."""

    def next_run(self, node: int) -> None:
        """The agent there ends without a word and starts again."""

    def spec(self, node: int, name: str) -> TunnelSpec:
        """One end of a tunnel of that name."""

    def passes(self, node: int, spec: TunnelSpec, size: int) -> bool:
        """Whether an IP packet of so many bytes gets from this end of the tunnel to the other."""

    def kill(self, node: int, device: str) -> None:
        """What runs the device dies."""

    def roam(self, node: int, spec: TunnelSpec) -> Endpoint:
        """The node's outer address becomes another; where its packets come from now."""

    def left(self) -> object:
        """All that is there of devices, processes and sockets."""


def eventually(condition: Callable[[], object], within_s: float = 5.0) -> bool:
    give_up_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.001)
    return True


def create(world: World, name: str) -> tuple[LocalEnd, LocalEnd]:
    made = []
    for node in (0, 1):
        with world.at(node) as tunnels:
            made.append(tunnels.create(world.spec(node, name)))
    return made[0], made[1]


def peer(world: World, node: int, name: str, end: LocalEnd, secret: bytes = SECRET) -> PeerEnd:
    """The end at a node, as the other has to know it."""
    return PeerEnd(end.public_key, secret, Endpoint(address=world.spec(node, name).local, port=end.port))


def connect(world: World, node: int, name: str, other: PeerEnd) -> None:
    with world.at(node) as tunnels:
        tunnels.connect(world.spec(node, name), other)


def join(world: World, name: str) -> tuple[LocalEnd, LocalEnd]:
    ends = create(world, name)
    connect(world, 0, name, peer(world, 1, name, ends[1]))
    connect(world, 1, name, peer(world, 0, name, ends[0]))
    assert shaken(world, name)
    return ends


def age_s(world: World, node: int, name: str) -> float | None:
    with world.at(node) as tunnels:
        return tunnels.read()[world.spec(node, name).device].handshake_age_s


def shaken(world: World, name: str) -> bool:
    """Before WireGuard by itself would call a second time, however busy the machine is."""

    def both() -> bool:
        # Both are read each time, as agents do: it is then that an end calls again.
        ages_s = [age_s(world, node, name) for node in (0, 1)]
        return None not in ages_s

    return eventually(both, 4.5)


class TunnelContract:
    def test_two_ends_that_know_each_other_shake_hands(self, world: World) -> None:
        ends = join(world, "t")
        for node in (0, 1):
            assert world.passes(node, world.spec(node, "t"), 100)
            with world.at(node) as tunnels:
                reading = tunnels.read()[world.spec(node, "t").device]
            assert reading.endpoint == peer(world, 1 - node, "t", ends[1 - node]).endpoint
            assert reading.handshake_age_s is not None and 0 <= reading.handshake_age_s < 5
            assert reading.sent_bytes >= 100 and reading.received_bytes >= 100 * node

    def test_an_end_without_an_endpoint_is_called(self, world: World) -> None:
        ends = create(world, "t")
        connect(world, 1, "t", PeerEnd(ends[0].public_key, SECRET, None))
        connect(world, 0, "t", peer(world, 1, "t", ends[1]))
        assert shaken(world, "t")
        assert world.passes(1, world.spec(1, "t"), 100)

    def test_who_called_too_early_calls_again(self, world: World) -> None:
        ends = create(world, "t")
        connect(world, 0, "t", peer(world, 1, "t", ends[1]))
        connect(world, 1, "t", PeerEnd(ends[0].public_key, SECRET, None))
        assert shaken(world, "t")

    def test_the_next_run_takes_a_tunnel_over_as_it_is(self, world: World) -> None:
        ends = join(world, "t")
        before = age_s(world, 0, "t")
        for node in (0, 1):
            world.next_run(node)
            with world.at(node) as tunnels:
                assert world.spec(node, "t").device in tunnels.found()
                assert world.spec(node, "t").device in tunnels.read()
                assert tunnels.create(world.spec(node, "t")) == ends[node]
            connect(world, node, "t", peer(world, 1 - node, "t", ends[1 - node]))
        after = age_s(world, 0, "t")
        assert before is not None and after is not None and after >= before
        assert world.passes(0, world.spec(0, "t"), 100)

    def test_two_ends_with_different_secrets_get_no_handshake(self, world: World) -> None:
        ends = create(world, "t")
        connect(world, 0, "t", peer(world, 1, "t", ends[1]))
        connect(world, 1, "t", peer(world, 0, "t", ends[0], OTHER_SECRET))
        join(world, "right")
        assert age_s(world, 0, "t") is None and age_s(world, 1, "t") is None

    def test_the_mtu_changes_in_place(self, world: World) -> None:
        join(world, "t")
        spec = world.spec(0, "t")
        assert world.passes(0, spec, spec.mtu) and not world.passes(0, spec, spec.mtu + 1)
        for node in (0, 1):
            with world.at(node) as tunnels:
                tunnels.set_mtu(world.spec(node, "t"), 1300)
        assert world.passes(0, spec, 1300) and not world.passes(0, spec, 1301)

    def test_the_next_run_leaves_a_smaller_mtu_as_it_was_found_out(self, world: World) -> None:
        join(world, "t")
        spec = world.spec(0, "t")
        with world.at(0) as tunnels:
            tunnels.set_mtu(spec, 1300)
        world.next_run(0)
        with world.at(0) as tunnels:
            tunnels.create(spec)
        assert world.passes(0, spec, 1300) and not world.passes(0, spec, 1301)

    def test_after_delete_nothing_is_left(self, world: World) -> None:
        before = world.left()
        join(world, "t")
        join(world, "other")
        assert world.left() != before
        for node in (0, 1):
            with world.at(node) as tunnels:
                tunnels.delete(world.spec(node, "t").device)
        assert world.passes(0, world.spec(0, "other"), 100)
        for node in (0, 1):
            with world.at(node) as tunnels:
                for name in ("other", "other", "never made"):
                    tunnels.delete(world.spec(node, name).device)
                assert not tunnels.found() and not tunnels.read()
        assert world.left() == before

    def test_a_device_of_another_tunnel_is_left_alone(self, world: World) -> None:
        join(world, "t")
        taken = world.spec(0, "another")
        taken = TunnelSpec(**{**vars(taken), "device": world.spec(0, "t").device})
        with world.at(0) as tunnels, pytest.raises(TunnelFailed, match="left alone"):
            tunnels.create(taken)
        assert world.passes(0, world.spec(0, "t"), 100)

    def test_without_a_device_there_is_nothing_to_connect_or_change(self, world: World) -> None:
        with world.at(0) as tunnels:
            with pytest.raises(TunnelFailed, match="make the tunnel again"):
                tunnels.connect(world.spec(0, "t"), PeerEnd(public_text(SECRET), SECRET, None))
            with pytest.raises(TunnelFailed, match="make the tunnel again"):
                tunnels.set_mtu(world.spec(0, "t"), 1300)


class DeviceContract(TunnelContract):
    """What is so because tunnels are devices of the kernel."""

    def test_a_device_that_is_taken_down_lets_nothing_through_and_goes_as_any_other(self, world: World) -> None:
        join(world, "t")
        spec = world.spec(0, "t")
        with world.at(0):
            devices = Devices()
            devices.take_down(spec.device)
            devices.take_down(spec.device)
            devices.take_down("lo")
            devices.close()
        with pytest.raises(OSError, match="Network is unreachable"):
            world.passes(0, spec, 100)
        assert not world.passes(1, world.spec(1, "t"), 100)
        with world.at(0) as tunnels:
            tunnels.delete(spec.device)
            assert not tunnels.found()
            end = tunnels.create(spec)
        connect(world, 1, "t", peer(world, 0, "t", end))
        with world.at(1) as tunnels:
            other = tunnels.create(world.spec(1, "t"))
        connect(world, 0, "t", peer(world, 1, "t", other))
        assert shaken(world, "t")
        assert eventually(lambda: world.passes(0, spec, 100), 10)


class WireGuardContract(TunnelContract):
    """Where each end has a key, follows the other one, and is run apart from all others."""

    def test_who_has_a_key_without_the_other_end_knowing_it_gets_no_handshake(self, world: World) -> None:
        ends, stranger = create(world, "t"), create(world, "stranger")
        connect(world, 0, "t", peer(world, 1, "t", ends[1]))
        wrong = PeerEnd(stranger[0].public_key, SECRET, peer(world, 0, "t", ends[0]).endpoint)
        connect(world, 1, "t", wrong)
        join(world, "right")
        assert age_s(world, 0, "t") is None and age_s(world, 1, "t") is None

    def test_a_peer_that_cannot_be_is_refused_with_the_reason_and_without_the_secret(self, world: World) -> None:
        ends = create(world, "t")
        weak = public_text(bytes(32))
        cases = [
            (PeerEnd(None, SECRET, None), "needs a public key"),
            (PeerEnd(weak, SECRET, None), "weak"),
            (PeerEnd(ends[0].public_key, SECRET, None), "one public key"),
            (PeerEnd(ends[1].public_key, bytes(32), None), "all zero"),
            (PeerEnd(ends[1].public_key, SECRET[:31], None), "32 bytes"),
        ]
        for bad, why in cases:
            with world.at(0) as tunnels, pytest.raises(TunnelFailed, match=why) as caught:
                tunnels.connect(world.spec(0, "t"), bad)
            assert SECRET.hex()[:8] not in repr(caught.value)
        assert join(world, "t") == ends

    def test_an_end_that_moves_is_followed(self, world: World) -> None:
        ends = join(world, "t")
        now = world.roam(1, world.spec(1, "t"))
        connect(world, 1, "t", peer(world, 0, "t", ends[0]))
        assert world.passes(1, world.spec(1, "t"), 100)
        with world.at(0) as tunnels:
            assert tunnels.read()[world.spec(0, "t").device].endpoint == now
        assert world.passes(0, world.spec(0, "t"), 100)

    def test_where_the_other_end_moved_to_outlives_the_next_run(self, world: World) -> None:
        ends = join(world, "t")
        now = world.roam(1, world.spec(1, "t"))
        connect(world, 1, "t", peer(world, 0, "t", ends[0]))
        assert world.passes(1, world.spec(1, "t"), 100)
        world.next_run(0)
        connect(world, 0, "t", peer(world, 1, "t", ends[1]))
        with world.at(0) as tunnels:
            assert tunnels.read()[world.spec(0, "t").device].endpoint == now

    def test_what_died_is_not_among_the_living_and_can_be_made_again(self, world: World) -> None:
        join(world, "t")
        join(world, "other")
        device = world.spec(0, "t").device
        world.kill(0, device)
        with world.at(0) as tunnels:
            assert eventually(lambda: set(tunnels.read()) == {world.spec(0, "other").device}, 1.0)
        assert world.passes(0, world.spec(0, "other"), 100)
        with world.at(0) as tunnels:
            end = tunnels.create(world.spec(0, "t"))
        with world.at(1) as tunnels:
            tunnels.delete(world.spec(1, "t").device)
            far = tunnels.create(world.spec(1, "t"))
        connect(world, 0, "t", peer(world, 1, "t", far))
        connect(world, 1, "t", peer(world, 0, "t", end))
        assert shaken(world, "t")
