"""Who stands at the gate and does not say who he is takes no room from others for long."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from ryu_apps.overlay import doorway as module
from ryu_apps.overlay.doorway import Doorway, doorways
from tests.system.waiting import wait_until
from tests.unit.gate_world import World, gate_world, stranger
from tests.unit.trust_world import Clock, Site
from vte_agent.channel import ChannelState
from vte_agent.protocol.channel import SERVER_NAME

CALLERS: list[socket.socket] = []
HERE, THERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gate_world(tmp_path_factory.mktemp("overlay")) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doorway]:
    monkeypatch.setattr(module, "MOST_OF_ONE", 4)
    monkeypatch.setattr(module, "MOST_OF_ALL", 6)
    with Doorway(socket.AF_INET, (HERE, 0), clock) as made:
        made.listen()
        made.settimeout(0.2)
        yield made
    while CALLERS:
        CALLERS.pop().close()


def call(door: Doorway, source: str = HERE) -> socket.socket:
    return socket.create_connection(door.getsockname(), 5, source_address=(source, 0))


def taken_in(door: Doorway, *sources: str) -> list[socket.socket]:
    """The connections of those who call and are taken in."""
    CALLERS.extend(call(door, source) for source in sources)
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(door.accept()[0])
    return found


def test_of_one_address_only_so_many_are_taken_in_and_of_others_as_many_again(door: Doorway) -> None:
    assert [len(taken_in(door, *[source] * 10)) for source in (HERE, THERE, "127.0.0.3")] == [4, 2, 0]


def test_who_goes_or_says_who_he_is_makes_room(door: Doorway) -> None:
    first = taken_in(door, *[HERE] * 4)
    first[0].close()
    door.known(first[1].getpeername())
    assert len(taken_in(door, *[HERE] * 4)) == 2
    # What is closed afterwards has been let go of already.
    first[1].close()
    assert taken_in(door, HERE) == []


def test_who_has_stood_there_for_too_long_makes_room_the_first_of_them_first(door: Doorway, clock: Clock) -> None:
    first = taken_in(door, *[HERE] * 4)
    clock.now_s += module.PATIENCE_S
    assert len(taken_in(door, *[HERE] * 2)) == 2
    for closed in first[:2]:
        with pytest.raises(BrokenPipeError):
            closed.send(b"x")
    assert first[2].send(b"x")
    assert len(taken_in(door, *[THERE] * 3)) == 3


def test_the_same_port_is_listened_at_on_each_address_of_a_name() -> None:
    found = doorways("localhost", 0)
    with contextlib.ExitStack() as opened:
        for one in found:
            opened.enter_context(one)
        assert len({one.getsockname()[1] for one in found}) == 1
        found[0].listen()
        with pytest.raises(OSError, match="in use"):
            doorways("localhost", found[0].getsockname()[1])


def silent(world: World, many: int, source: str, stack: contextlib.ExitStack) -> None:
    """Strangers that go through TLS and then say nothing. Raises OSError where one is turned away."""
    context = stranger(world)
    for _ in range(many):
        link = stack.enter_context(
            socket.create_connection((HERE, world.gate.port), 5, source_address=(source, 0))
        )
        stack.enter_context(context.wrap_socket(link, server_hostname=SERVER_NAME))


def test_silent_connections_of_one_host_keep_nobody_else_from_being_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 70)
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)
    with contextlib.ExitStack() as stack:
        silent(world, 70, THERE, stack)
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            silent(world, 1, THERE, stack)
        assert world.join("elsewhere").channel.state is ChannelState.CONNECTED


def test_silent_connections_of_the_same_address_keep_nobody_from_it_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 4)
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with contextlib.ExitStack() as stack:
        silent(world, 4, HERE, stack)
        time.sleep(0.3)
        assert world.join("beside").channel.state is ChannelState.CONNECTED


def test_many_sites_behind_one_address_all_come_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = [world.enroll(f"nat{number}") for number in range(24)]
    monkeypatch.setattr(module, "MOST_OF_ONE", 4)
    sites = [Site.of(directory, world.loop) for directory in directories]
    wait_until(
        lambda: all(site.channel.state is ChannelState.CONNECTED for site in sites),
        30,
        lambda: [site.states[-1] for site in sites],
    )
    # Who has shown who it is stands in nobody's way.
    assert world.join("one-more").channel.state is ChannelState.CONNECTED
