"""Garbage on every socket that an agent listens on: it is thrown away, and nothing else is the worse for it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from pathlib import Path

from tests.system.vte.flow import flow
from tests.system.vte.steered import both_alive, flows, running, taken
from tests.system.vte.two_sites import TwoSites, open_in
from tests.system.waiting import wait_until
from vte_agent.probing.sockets import LIVENESS_PORT, MTU_PORT, REFLECTOR_PORT, SENDER_PORT
from vte_agent.talking import SOCKET, ask_status, telling

PORTS = (
    (LIVENESS_PORT, LIVENESS_PORT),
    (SENDER_PORT, REFLECTOR_PORT),
    (REFLECTOR_PORT, SENDER_PORT),
    (MTU_PORT, MTU_PORT),
)
"""Whence and where to: what the other end's own probes have."""

AT_ONCE, TIMES = 10, 40
"""So many of each, so many times: more at once would not get through a tunnel."""

_HEADER = struct.Struct("!HHHH")


def throw(world: TwoSites, tunnel: int, chance: random.Random) -> int:
    """Garbage from where the other end's probes come from, so that it is heard; returns how much."""

    def made() -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        link.bind((f"10.202.{tunnel}.2", 0))
        return link

    thrown = 0
    with open_in(world.b, made) as link:
        for _ in range(AT_ONCE):
            for source, target in PORTS:
                body = chance.randbytes(chance.choice((0, 1, 16, 44, chance.randrange(1400))))
                header = _HEADER.pack(source, target, _HEADER.size + len(body), 0)
                link.sendto(header + body, (f"10.202.{tunnel}.1", 0))
                thrown += 1
    return thrown


def received(world: TwoSites) -> int:
    """UDP datagrams that programs of site a were given."""
    words = world.a.run("cat", "/proc/net/snmp").splitlines()
    names, values = (line.split()[1:] for line in words if line.startswith("Udp:"))
    return int(dict(zip(names, values, strict=True))["InDatagrams"])


def test_what_is_no_probe_kills_no_tunnel_and_moves_nothing() -> None:
    with running() as world, flow(world.b, world.a) as receiver:
        flows(receiver)
        before = received(world)
        chance, thrown = random.Random(1), 0
        for _ in range(TIMES):
            thrown += throw(world, 1, chance)
            wait_until(lambda much=before + thrown: received(world) >= much, 5, "it was not heard")  # type: ignore[misc]
        said = world.a.ask("report")
        assert both_alive(world.a) and both_alive(world.b)
        assert [move[2] for move in said["moves"]] == ["t1"] and taken(world.a) == taken(world.b) == "t1"
        assert not said["problems"] and said["tunnels"]["t1"]["bad"] == ""
        seen = len(receiver.read())
        flows(receiver)
        assert seen and receiver.lost() == 0


def test_whoever_says_something_to_the_status_socket_is_not_listened_to(tmp_path: Path) -> None:
    async def run() -> None:
        async with telling(tmp_path, lambda: "well" * 100_000):
            held = []
            for number in range(50):
                link = socket.socket(socket.AF_UNIX)
                link.setblocking(False)
                link.connect(str(tmp_path / SOCKET))
                # It says something, and never takes its answer.
                link.send(random.Random(number).randbytes(1000))
                held.append(link)
            assert await asyncio.wait_for(asyncio.to_thread(ask_status, tmp_path), 5) == "well" * 100_000
            for link in held:
                link.close()

    asyncio.run(run())
