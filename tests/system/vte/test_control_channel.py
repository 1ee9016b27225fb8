"""Where the packets of the control channel go when a prefix beyond the overlay has the controller in it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.system.vte.two_sites import TwoSites, open_in, two_sites
from tests.unit.trust_world import a_channel
from vte_agent.dialling import dial
from vte_agent.route_tables import NO_WAYS, UplinkWay, Ways
from vte_agent.routing import Router

CONTROLLER = "192.0.2.101"


@pytest.fixture
def world() -> Iterator[TwoSites]:
    """All that leads to the controller is wanted over tunnels, of which none is alive."""
    with two_sites() as made, made.a.inside(), Router() as router:
        made.internet.run("ip", "route", "add", "192.0.2.1/32", "dev", "wana")
        uplink = UplinkWay(1, "wan", ip_address("192.0.2.1"), ip_address(CONTROLLER))
        router.apply(Ways({(ip_network("192.0.2.96/28"), None): None}, {}, uplinks=(uplink,)))
        yield made
        router.apply(NO_WAYS)


@pytest.fixture
def listening(world: TwoSites) -> Iterator[socket.socket]:
    with open_in(world.internet, socket.socket) as door:
        door.bind((CONTROLLER, 0))
        door.listen()
        door.settimeout(5)
        yield door


def address_of(door: socket.socket) -> str:
    return f"{CONTROLLER}:{door.getsockname()[1]}"


def test_a_connection_of_somebody_else_takes_the_tunnels_or_nothing(listening: socket.socket) -> None:
    with pytest.raises(OSError, match="No route to host"), socket.create_connection(listening.getsockname(), 5):
        pass


def test_a_controller_is_called_past_the_tunnels(listening: socket.socket) -> None:
    with contextlib.closing(asyncio.run(asyncio.wait_for(dial(address_of(listening)), 5))), listening.accept()[0]:
        pass


def test_the_control_channel_takes_no_tunnel(listening: socket.socket, tmp_path: Path) -> None:
    async def call() -> None:
        channel = asyncio.create_task(a_channel(tmp_path, address_of(listening)).run())
        with (await asyncio.to_thread(listening.accept))[0]:
            channel.cancel()
        await asyncio.gather(channel, return_exceptions=True)

    asyncio.run(call())
