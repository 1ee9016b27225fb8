"""Two network namespaces with a cable between them, and IPsec at both ends."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.ovs import run
from tests.tunnel_contract import eventually
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import TunnelFailed, Tunnels, TunnelSpec
from vte_agent.tunnels.devices import device_name
from vte_agent.tunnels.ipsec import IpsecTunnels
from vte_agent.tunnels.ipsec_charon import Charon

_WIRE = "wire"
_PORT = 9010
_HEADER_BYTES = 28
MTU = 1350


class Node:
    """Where an agent is: a network namespace and a directory of its own."""

    def __init__(self, enclosure: Enclosure, directory: Path) -> None:
        self.enclosure, self.directory = enclosure, directory
        with self.inside():
            self.tunnels = IpsecTunnels(directory)

    @contextmanager
    def inside(self) -> Iterator[None]:
        with network_of(self.enclosure.pid):
            yield

    @contextmanager
    def at(self) -> Iterator[IpsecTunnels]:
        with self.inside():
            yield self.tunnels

    def run(self, *argv: str) -> str:
        return self.enclosure.run(argv)

    def next_run(self) -> None:
        with self.inside():
            self.tunnels.close()
            self.tunnels = IpsecTunnels(self.directory)

    def charon(self) -> int:
        """Its process."""
        with self.inside():
            running = Charon(self.directory).find()
        assert running is not None
        running.connection.close()
        return running.pid

    def kill(self) -> None:
        os.kill(self.charon(), signal.SIGKILL)

    def left(self) -> object:
        """All that is there of devices, addresses, routes, rules, filters, processes and files."""
        # The lab's own neighbours and link-local addresses come and go by themselves.
        asked = [["link"], ["-4", "address"], ["-4", "route", "show", "table", "all"], ["rule"]]
        told = [self.run("ip", "-o", *words) for words in [*asked, ["neighbour", "show", "nud", "permanent"]]]
        with self.inside():
            processes = Charon(self.directory).processes()
        return told, self.run("nft", "list", "ruleset"), processes, sorted(self.directory.parent.rglob("*"))

    def clear(self) -> None:
        """Whatever a test left."""
        with self.at() as tunnels:
            for device in tunnels.found():
                with contextlib.suppress(TunnelFailed):
                    tunnels.delete(device)
        self.end()

    def end(self) -> None:
        with self.inside():
            Charon(self.directory).end()


def passes(near: Node, far: Node, spec: TunnelSpec, size: int, within_s: float = 2.0) -> bool:
    """Whether an IP packet of so many bytes gets from this end of a tunnel to the other."""
    with near.inside():
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far.inside():
        target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with source, target:
        # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: too long is an error, and nothing is remembered.
        source.setsockopt(socket.IPPROTO_IP, 10, 3)
        source.bind((str(spec.address), 0))
        target.bind((str(spec.peer_address), _PORT))
        target.settimeout(0.05)
        word = secrets.token_bytes(size - _HEADER_BYTES)

        def arrives() -> bool:
            source.sendto(word, target.getsockname())
            with contextlib.suppress(TimeoutError):
                return target.recv(size) == word
            return False

        try:
            return eventually(arrives, within_s)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return False


class IpsecWorld:
    """What `TunnelContract` wants of a world."""

    def __init__(self, directory: Path) -> None:
        self._at: list[Enclosure] = []
        self.nodes: list[Node] = []
        try:
            self._at = [Enclosure(f"ipsec {node}") for node in (0, 1)]
            near, far = self._at
            with network_of(near.pid):
                run(["ip", "link", "add", _WIRE, "type", "veth", "peer", _WIRE, "netns", str(far.pid)])
            for node, enclosure in enumerate(self._at):
                enclosure.run(["ip", "address", "add", f"{self.local(node)}/16", "dev", _WIRE])
                enclosure.run(["ip", "link", "set", _WIRE, "up"])
                (directory / str(node)).mkdir()
            self.nodes = [Node(one, directory / str(node) / "ipsec") for node, one in enumerate(self._at)]
        except BaseException:
            self.close()
            raise

    @staticmethod
    def local(node: int) -> IPv4Address:
        return IPv4Address(f"10.9.0.{node + 1}")

    @contextmanager
    def at(self, node: int) -> Iterator[Tunnels]:
        with self.nodes[node].at() as tunnels:
            yield tunnels

    def next_run(self, node: int) -> None:
        self.nodes[node].next_run()

    def spec(self, node: int, name: str) -> TunnelSpec:
        # A pair of addresses for each name.
        low = 2 * (1 + int.from_bytes(name.encode()) % 1013)
        near, far = (IPv4Address("100.96.0.0") + low + one for one in (node, 1 - node))
        return TunnelSpec(name, device_name(name, str(node)), self.local(node), near, far, MTU)

    def passes(self, node: int, spec: TunnelSpec, size: int) -> bool:
        return passes(self.nodes[node], self.nodes[1 - node], spec, size)

    def kill(self, node: int, device: str) -> None:
        del device
        self.nodes[node].kill()

    def roam(self, node: int, spec: TunnelSpec) -> Endpoint:
        raise NotImplementedError(f"{spec.name} at {node} has one address")

    def left(self) -> object:
        return [node.left() for node in self.nodes]

    def clear(self) -> None:
        for node in self.nodes:
            node.clear()

    def close(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(TunnelFailed):
                node.end()
            node.tunnels.close()
        for enclosure in self._at:
            enclosure.close()
