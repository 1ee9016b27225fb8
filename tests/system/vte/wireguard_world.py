"""Two network namespaces with a cable between them, and WireGuard at both ends."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from mininet_topos.handles import HostHandle
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.ovs import run
from tests.tunnel_contract import eventually
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import wireguard_process as process
from vte_agent.tunnels.contract import Address, Tunnels, TunnelSpec
from vte_agent.tunnels.devices import Devices, device_name
from vte_agent.tunnels.own_keys import OwnKeys
from vte_agent.tunnels.wireguard_base import Runner, WireGuardTunnels

_PORT = 9010
_WIRE = "wire"
_HEADER_BYTES = {4: 28, 6: 48}


class WireGuardWorld:
    """What `WireGuardContract` wants of a world. runner: who runs the devices, made inside each namespace."""

    def __init__(self, runner: Callable[[Devices], Runner], *, inner: str = "10.7.0.") -> None:
        self._runner, self._inner = runner, inner
        self._names: set[str] = set()
        self._disk = TemporaryDirectory(prefix="ls-keys-")
        # wireguard-go's sockets are in a directory that other tests may use at the same time.
        self._mark = secrets.token_hex(4)
        self._nodes: list[Enclosure] = []
        self._tunnels: list[WireGuardTunnels] = []
        try:
            self._nodes = [Enclosure(f"wireguard {node}") for node in (0, 1)]
            near, far = self._nodes
            with network_of(self.pid(0)):
                run(["ip", "link", "add", _WIRE, "type", "veth", "peer", _WIRE, "netns", str(self.pid(1))])
            for node, enclosure in ((0, near), (1, far)):
                # An internet: the other end's address may be any.
                enclosure.run(["ip", "address", "add", f"{self.local(node)}/16", "dev", _WIRE])
                enclosure.run(["ip", "link", "set", _WIRE, "up"])
            for node in (0, 1):
                with network_of(self.pid(node)):
                    self._tunnels.append(self._start())
        except BaseException:
            self.close()
            raise

    def _start(self) -> WireGuardTunnels:
        devices = Devices()
        return WireGuardTunnels(self._runner(devices), devices, OwnKeys(Path(self._disk.name)))

    def pid(self, node: int) -> int:
        return self._nodes[node].pid

    def run(self, node: int, *argv: str) -> str:
        return self._nodes[node].run(argv)

    @staticmethod
    def local(node: int) -> IPv4Address:
        return IPv4Address(f"10.9.0.{node + 1}")

    def host(self, node: int) -> HostHandle:
        """A node as what sends streams knows it, by its address inside the tunnels."""
        return HostHandle(str(node), self.pid(node), str(self.inner(node)), "", "", 0, 0, "")

    def inner(self, node: int) -> Address:
        return ip_address(f"{self._inner}{node + 1}")

    @contextmanager
    def at(self, node: int) -> Iterator[Tunnels]:
        with network_of(self.pid(node)):
            yield self._tunnels[node]

    def next_run(self, node: int) -> None:
        with network_of(self.pid(node)):
            self._tunnels[node].close()
            self._tunnels[node] = self._start()

    def spec(self, node: int, name: str) -> TunnelSpec:
        device = device_name(name, f"{self._mark} {node}")
        self._names.add(device)
        # Packets to either end have one way: the addresses of each tunnel are its own but those of tunnel "t".
        near, far = self.inner(node), self.inner(1 - node)
        if name != "t":
            near, far = (address + 16 * (1 + sum(name.encode()) % 10) for address in (near, far))
        return TunnelSpec(name, device, self.local(node), near, far, 1420)

    def passes(self, node: int, spec: TunnelSpec, size: int) -> bool:
        family = socket.AF_INET if spec.address.version == 4 else socket.AF_INET6
        with network_of(self.pid(node)):
            source = socket.socket(family, socket.SOCK_DGRAM)
        with network_of(self.pid(1 - node)):
            target = socket.socket(family, socket.SOCK_DGRAM)
        with source, target:
            if family == socket.AF_INET:
                # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: too long is an error, and nothing is remembered.
                source.setsockopt(socket.IPPROTO_IP, 10, 3)
            source.bind((str(spec.address), 0))
            target.bind((str(spec.peer_address), _PORT))
            target.settimeout(0.05)
            word = secrets.token_bytes(size - _HEADER_BYTES[spec.address.version])

            def arrives() -> bool:
                source.sendto(word, target.getsockname())
                with contextlib.suppress(TimeoutError):
                    return target.recv(size) == word
                return False

            try:
                return eventually(arrives, 2.0)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                return False

    def kill(self, node: int, device: str) -> None:
        if processes := processes_of({device}):
            os.kill(processes[0], signal.SIGKILL)
        else:
            # The kernel runs it: it dies with its device alone.
            self.run(node, "ip", "link", "del", device)

    def process_of(self, device: str) -> int:
        """The only wireguard-go of a device."""
        (pid,) = processes_of({device})
        return pid

    def roam(self, node: int, spec: TunnelSpec) -> Endpoint:
        new = self.local(node) + 7
        self.run(node, "ip", "address", "add", f"{new}/16", "dev", _WIRE)
        self.run(node, "ip", "address", "del", f"{self.local(node)}/16", "dev", _WIRE)
        # The second of two addresses of one network goes with the first, unless it was promoted.
        self.run(node, "ip", "address", "replace", f"{new}/16", "dev", _WIRE)
        with self.at(node) as tunnels:
            return Endpoint(address=new, port=tunnels.create(spec).port)

    def left(self) -> object:
        links = []
        for node in (0, 1):
            with network_of(self.pid(node)):
                devices = Devices()
                links.append(sorted(devices.links()))
                devices.close()
        sockets = sorted(name for name in self._names if process.socket_of(name).exists())
        return links, sockets, sorted(processes_of(self._names))

    def close(self) -> None:
        for node, tunnels in enumerate(self._tunnels):
            with network_of(self.pid(node)):
                for device in {*tunnels.found(), *self._names}:
                    tunnels.delete(device)
                tunnels.close()
        for pid in processes_of(self._names):
            os.kill(pid, signal.SIGKILL)
        for enclosure in self._nodes:
            enclosure.close()
        self._disk.cleanup()


def processes_of(devices: set[str]) -> list[int]:
    """The processes that run wireguard-go on devices of these names, wherever; not those that have ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if words[:2] == [b"wireguard-go", b"-f"] and words[2].decode() in devices:
                found.append(int(entry.name))
    return found
