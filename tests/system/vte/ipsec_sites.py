"""Two sites of a lab's internet with IPsec tunnels between their uplinks, and a flow of packets through one."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from mininet_topos.overlay.underlay import Underlay, Uplink
from tests.system.vte.ipsec_world import Node, passes
from tests.tunnel_contract import eventually
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import PeerEnd, TunnelSpec
from vte_agent.tunnels.devices import device_name

SECRET = bytes(range(100, 132))
PLACES = ("ber", "muc")
UPLINKS = ("up0", "up1", "narrow", "hidden")
_FLOW_PORT = 9020


def uplinks(nat: bool) -> tuple[Uplink, ...]:
    return (
        Uplink("up0", delay_ms=1.0),
        Uplink("up1", delay_ms=1.0),
        Uplink("narrow", delay_ms=1.0, mtu=1280),
        Uplink("hidden", delay_ms=1.0, behind_nat=nat),
    )


class Sites:
    """Two sites and tunnels between the uplinks of one name."""

    def __init__(self, underlay: Underlay, directory: Path) -> None:
        self.underlay = underlay
        self.nodes = []
        for name in PLACES:
            (directory / name).mkdir()
            self.nodes.append(Node(underlay.at(name), directory / name / "ipsec"))

    def spec(self, node: int, uplink: str, *, first: int = 0) -> TunnelSpec:
        near, far = (
            IPv4Address("100.96.0.0") + 2 * UPLINKS.index(uplink) + (end ^ first) for end in (node, 1 - node)
        )
        name = f"t-{uplink}"
        local = self.underlay.address(PLACES[node], uplink)
        return TunnelSpec(name, device_name(name, PLACES[node]), local, near, far, 9000)

    def create(self, node: int, uplink: str, *, first: int = 0) -> int:
        with self.nodes[node].at() as tunnels:
            return tunnels.create(self.spec(node, uplink, first=first)).port

    def connect(self, node: int, uplink: str, port: int | None = 4500, *, first: int = 0) -> None:
        endpoint = Endpoint(address=self.underlay.address(PLACES[1 - node], uplink), port=port) if port else None
        with self.nodes[node].at() as tunnels:
            tunnels.connect(self.spec(node, uplink, first=first), PeerEnd(None, SECRET, endpoint))

    def join(self, uplink: str) -> None:
        for node in (0, 1):
            self.create(node, uplink)
        for node in (1, 0):
            self.connect(node, uplink)
        assert eventually(lambda: self.is_up(uplink), 5.0)

    def is_up(self, uplink: str) -> bool:
        return None not in [self.age_s(node, uplink) for node in (0, 1)]

    def age_s(self, node: int, uplink: str) -> float | None:
        with self.nodes[node].at() as tunnels:
            reading = tunnels.read().get(self.spec(node, uplink).device)
        return reading.handshake_age_s if reading else None

    def passes(self, uplink: str, size: int = 100, within_s: float = 2.0) -> bool:
        return passes(self.nodes[0], self.nodes[1], self.spec(0, uplink), size, within_s)


def flow(sites: Sites, uplink: str, disturb: Callable[[], None]) -> tuple[int, int]:
    """Packets sent every 5 ms, and how many of them came, while something happens."""
    near, far = sites.spec(0, uplink), sites.spec(1, uplink)
    with sites.nodes[1].inside():
        target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sites.nodes[0].inside():
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind((str(far.address), _FLOW_PORT))
    source.bind((str(near.address), 0))
    over, sent, come = threading.Event(), 0, set[int]()

    def receive() -> None:
        target.settimeout(0.5)
        while True:
            try:
                come.add(struct.unpack("!I", target.recv(64))[0])
            except TimeoutError:
                if over.is_set():
                    return

    def send() -> None:
        nonlocal sent
        while not over.wait(0.005):
            source.sendto(struct.pack("!I", sent), (str(far.address), _FLOW_PORT))
            sent += 1

    threads = [threading.Thread(target=receive), threading.Thread(target=send)]
    for thread in threads:
        thread.start()
    try:
        disturb()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        source.close()
        target.close()
    return sent, len(come)
