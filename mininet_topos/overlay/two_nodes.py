"""Two nodes across a lab's internet, each with a host behind it, that have whatever tunnels are wanted.

No controller is there: what is told is told by whoever runs them.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from mininet_topos.handles import LabError
from mininet_topos.overlay.enclosure import Enclosure, cable
from mininet_topos.overlay.underlay import Place, Underlay, Uplink
from mininet_topos.overlay.world import ENVIRONMENT, own_sockets
from mininet_topos.waiting import wait_until
from vte_agent.protocol.filters import Filters

NAMES = ("ber", "muc")
_FIRST = IPv4Address("100.96.0.0")

Kind = tuple[str, str] | tuple[str, str, int]
"""Of a tunnel: the uplink and the transport, and the MTU where one is ordered."""


@dataclass
class Node:
    """One of the two; its serial is 1 or 2."""

    serial: int
    at: Enclosure
    host: Enclosure
    process: subprocess.Popen[str]

    def ask(self, command: str, argument: object = None) -> Any:
        """Have it do something; returns what it says. Raises LabError."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([command, argument]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise LabError(f"node {self.serial} has ended")
        return json.loads(line)

    def stop(self) -> None:
        """As an agent that is told to."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@dataclass
class TwoNodes:
    """The two. tunnels: by name; each is between the uplinks of one name."""

    underlay: Underlay
    nodes: tuple[Node, ...]
    tunnels: dict[str, Kind] = field(default_factory=dict)
    interval_ms: int = 50
    """Between two probes of liveness; a tunnel is dead after three."""
    best: tuple[str, ...] = ()
    """Which tunnels the hosts' packets take, best first."""
    filters: Filters | None = None
    """What both let through their tunnels; None: everything."""
    _numbers: dict[str, int] = field(default_factory=dict)
    _ends: list[dict[str, tuple[str | None, int]]] = field(default_factory=lambda: [{}, {}])

    def want(self, tunnels: Mapping[str, Kind]) -> None:
        """Have these tunnels, and no others; both ends are up when this returns."""
        self.tunnels = dict(tunnels)
        for name in tunnels:
            # A tunnel keeps its addresses when others go.
            self._numbers.setdefault(name, len(self._numbers))
        self.prefer(*tunnels)
        self._ends = [
            wait_until(lambda node=node: self._made(node), 10, lambda node=node: node.ask("report"))  # type: ignore[misc]
            for node in self.nodes
        ]
        self.prefer(*tunnels)
        self.wait(lambda one: one["state"] == "up")

    def prefer(self, *best: str, apart_s: float = 0.0) -> None:
        """Have the hosts' packets take one of these tunnels, best first; one end is told later than the other."""
        self.best = best
        for serial in (1, 2):
            time.sleep(apart_s if serial == 2 else 0)
            far = self._ends[2 - serial]
            self._tell(
                serial, {n: key for n, (key, _) in far.items() if key}, {n: port for n, (_, port) in far.items()}
            )

    def _made(self, node: Node) -> Any:
        ends = node.ask("ends")
        return ends if ends.keys() >= self.tunnels.keys() else None

    def _tell(self, serial: int, keys: dict[str, str], ports: dict[str, int]) -> None:
        node = self.nodes[serial - 1]
        tunnels = []
        for name, (uplink, transport, *mtu) in self.tunnels.items():
            ends = _FIRST + 2 * self._numbers[name], _FIRST + 2 * self._numbers[name] + 1
            near, far = ends if serial == 1 else ends[::-1]
            said = {
                "name": name,
                "peer": 3 - serial,
                "transport": transport,
                "uplink": uplink,
                "address": str(near),
                "peer_address": str(far),
                "liveness": {"interval_ms": self.interval_ms},
                "mtu": mtu[0] if mtu else None,
            }
            if name in ports:
                outer = self.underlay.address(NAMES[2 - serial], uplink)
                said["endpoint"] = {"address": str(outer), "port": ports[name]}
            tunnels.append(said)
        prefixes = f"10.{3 - serial}.0.0/24", f"fd10:{3 - serial}::/64"
        routes = [{"prefixes": prefixes, "tunnels": self.best}]
        filters = self.filters.model_dump(mode="json") if self.filters is not None else None
        node.ask("want", {"tunnels": tunnels, "routes": routes, "keys": keys, "filters": filters})

    def tunnel(self, serial: int, name: str) -> dict[str, Any]:
        """What a node says of a tunnel."""
        said: list[dict[str, Any]] = self.nodes[serial - 1].ask("report")["tunnels"]
        return next((one for one in said if one["name"] == name), {"name": name, "state": "none", "mtu": None})

    def wait(self, holds: Callable[[dict[str, Any]], object], within_s: float = 10.0) -> None:
        """Until it holds for both ends of all tunnels."""

        def said() -> list[dict[str, Any]]:
            return [self.tunnel(serial, name) for serial in (1, 2) for name in self.tunnels]

        wait_until(lambda: all(holds(one) for one in said()), within_s, said)

    def taken(self, name: str) -> None:
        """Wait until the hosts' packets take a tunnel, both ways."""

        def ways() -> list[str | None]:
            return [route["tunnel"] for node in self.nodes for route in node.ask("report")["routes"]]

        wait_until(lambda: set(ways()) == {name}, 10, ways)

    def device(self, serial: int, name: str) -> str:
        """The device of a tunnel, by its alias."""
        for line in self.nodes[serial - 1].at.run(["ip", "-o", "link"]).splitlines():
            if line.rstrip().endswith(f"lockstitch:{name}"):
                return line.split(":")[1].strip()
        raise LabError(f"node {serial} has no device of {name}")

    def address(self, serial: int, name: str) -> str:
        """The address of an end inside its tunnel."""
        return str(_FIRST + 2 * self._numbers[name] + serial - 1)


def host(serial: int, version: int = 4) -> str:
    """The address of the host behind a node."""
    return f"10.{serial}.0.2" if version == 4 else f"fd10:{serial}::2"


@contextmanager
def host_behind(at: Enclosure, serial: int) -> Iterator[Enclosure]:
    """The host behind a node of this serial; the node passes on what it sends."""
    behind = Enclosure(f"host {serial}")
    try:
        cable(at, "lan", behind, "lan")
        own_sockets(at)
        at.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        for end, number in ((at, 1), (behind, 2)):
            end.run(["ip", "link", "set", "lan", "mtu", "9000", "up"])
            end.run(["ip", "addr", "add", f"10.{serial}.0.{number}/24", "dev", "lan"])
            end.run(["ip", "addr", "add", f"fd10:{serial}::{number}/64", "dev", "lan", "nodad"])
        behind.run(["ip", "route", "add", "default", "via", f"10.{serial}.0.1"])
        behind.run(["ip", "route", "add", "default", "via", f"fd10:{serial}::1"])
        yield behind
    finally:
        behind.close()


@contextmanager
def two_nodes(uplinks: Sequence[Uplink], log: Path, between: type[Underlay] = Underlay) -> Iterator[TwoNodes]:
    """Both run; nothing is left afterwards."""
    with ExitStack() as stack:
        underlay = stack.enter_context(between([Place(name, tuple(uplinks)) for name in NAMES]))
        nodes = []
        for serial, name in enumerate(NAMES, 1):
            at = underlay.at(name)
            behind = stack.enter_context(host_behind(at, serial))
            words = [
                sys.executable,
                "-m",
                "mininet_topos.overlay.node",
                str(serial),
                *(one.name for one in uplinks),
            ]
            with log.open("ab") as said:
                process = subprocess.Popen(
                    at.enter([*_as_the_unit_lets_it(), *words]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
            nodes.append(Node(serial, at, behind, process))
            stack.callback(nodes[-1].stop)
        yield TwoNodes(underlay, tuple(nodes))


def _as_the_unit_lets_it() -> list[str]:
    """What runs a program with no more rights than systemd gives the agent."""
    unit = (files("vte_agent") / "systemd" / "vte-agent.service").read_text()
    rights = next(line for line in unit.splitlines() if line.startswith("CapabilityBoundingSet="))
    given = (name.removeprefix("CAP_").lower() for name in rights.partition("=")[2].split())
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,{','.join(f'+{name}' for name in given)}"]


_TAKE = """
import socket, sys
server = socket.create_server((sys.argv[1], 7002))
print(end=".", flush=True)
server.settimeout(15)
connection, _ = server.accept()
connection.settimeout(15)
with connection, connection.makefile() as text:
    sys.stdout.write(text.read())
"""

_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 7002), 5, source_address=(sys.argv[2], 0)) as to:
    to.sendall(sys.stdin.buffer.read())
"""


def a_megabyte_crosses(source: Enclosure, source_address: str, target: Enclosure, address: str) -> bool:
    """Whether 1 MiB of TCP comes as it was sent, within some seconds."""
    data = secrets.token_hex(1 << 19)
    receive = (
        "import socket,sys;s=socket.create_server((sys.argv[1],7002));sys.stdout.write('.');sys.stdout.flush()"
    )
    receive += ";s.settimeout(15);c=s.accept()[0];c.settimeout(15);f=c.makefile();sys.stdout.write(f.read())"
    taking = subprocess.Popen(
        target.enter([sys.executable, "-c", receive, address]), stdout=subprocess.PIPE, text=True
    )
    try:
        assert taking.stdout and taking.stdout.read(1) == "."
        source.run([sys.executable, "-c", _SEND, address, source_address], stdin=data, timeout_s=20)
        return taking.communicate(timeout=20)[0] == data
    finally:
        taking.kill()
        taking.wait()
