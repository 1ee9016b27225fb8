"""Two edge switches joined by three ways of three switches each, and many hosts at both ends.

    e1 - a1 - a2 - a3 - e2      the quickest
    e1 - b1 - b2 - b3 - e2
    e1 - c1 - c2 - c3 - e2

There is one network card at each end, on which many MACs live: to the switches they are as many hosts.
"""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.circuits import sessions
from benchmarks.circuits.many_flows import Ends
from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import MeasurementFailed
from mininet_topos.lab import HostHandle, Lab
from mininet_topos.namespaces import network_of
from mininet_topos.ovs import database, run
from mininet_topos.topology import LabHost, LabLink, LabTopology, Node

MACS = 32
"""Hosts at each end: 1,024 pairs."""

WAYS = ("a", "b", "c")
CAPACITY_MBPS = 1000.0
OPTIONS = ("--rate-limit", "100000")
BFD_MS = 20
_STITCH_MBPS = 0.1
_WITHIN_S = 60.0
_ARP = 0x0806


@dataclass(frozen=True)
class Ladder:
    """The lab, its controller and the controller's state directory."""

    running: RunningController
    lab: Lab
    state: Path

    def body(self, number: int, **more: Any) -> dict[str, Any]:
        """What POST /v1/stitches takes for the pair of this number, from 0 to MACS * MACS - 1."""
        source, target = _mac(1, number % MACS), _mac(2, number // MACS % MACS)
        return {"source": source, "destination": target, "bandwidth_mbps": _STITCH_MBPS, **more}

    def ends(self, number: int) -> Ends:
        """The addresses of the pair of this number."""
        source, target = number % MACS, number // MACS % MACS
        return Ends(_mac(1, source), _ip(1, source), _mac(2, target), _ip(2, target))

    def make(self, count: int, **more: Any) -> list[int]:
        """Make so many stitches, all of which have to come up; their numbers."""
        bodies = [self.body(number, **more) for number in range(count)]
        answer = self.running.post("/v1/stitches/batch", {"stitches": bodies}, wait="up", wait_s=30)
        for item in answer["items"]:
            if item["stitch"] is None or item["stitch"]["state"] != "up":
                raise MeasurementFailed(f"a stitch is not up: {item}")
        return [item["stitch"]["id"] for item in answer["items"]]

    def remove_all(self) -> None:
        """Take all stitches away and wait until they are gone."""
        for stitch in self.running.get("/v1/stitches"):
            if stitch["state"] not in ("terminated", "terminating"):
                self.running.delete(f"/v1/stitches/{stitch['id']}")
        wait_until(lambda: not self.states() - {"terminated"}, _WITHIN_S, "stitches were not all gone")

    def stitches_that_carry(self) -> list[dict[str, Any]]:
        """The stitches that are UP."""
        return [stitch for stitch in self.running.get("/v1/stitches") if stitch["state"] == "up"]

    def states(self) -> set[str]:
        """The states stitches are in."""
        return {stitch["state"] for stitch in self.running.get("/v1/stitches")}

    def log_from(self, offset: int) -> str:
        """What the controller has logged since its log had so many bytes."""
        with (self.state / "log").open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def log_bytes(self) -> int:
        """How long the log is."""
        return (self.state / "log").stat().st_size

    def wait_for_links(self) -> None:
        """Wait until every link is found, both ways."""
        links = 2 * len(self.lab.topology.links)
        wait_until(
            lambda: len(self.running.get("/v1/topology")["links"]) == links, _WITHIN_S, "links were not all found"
        )


@contextmanager
def ladder(*options: str) -> Iterator[Ladder]:
    """The lab, with everything known to its controller, which makes no stitches by itself."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-bench-") as directory:
        state = Path(directory)
        with (
            controller(state, trigger="off", options=(*OPTIONS, *options)) as running,
            Lab(_topology(), controller=f"127.0.0.1:{running.of_port}") as lab,
        ):
            made = Ladder(running, lab, state)
            made.wait_for_links()
            running.put("/v1/links/capacities", _capacities(lab))
            wait_until(lambda: _all_seen(running, lab), _WITHIN_S, "hosts were not all seen", every_s=0.5)
            wait_until(lambda: _measured(running), _WITHIN_S, "latencies were not all measured")
            _introduce(lab)
            yield made


@contextmanager
def ladder_with_bfd() -> Iterator[Ladder]:
    """The same with BFD on every link, all of whose sessions are up."""
    with ladder("--ovsdb", database(), "--bfd-ms", str(BFD_MS)) as made:
        wait_until(lambda: sessions.all_up(made.lab, BFD_MS), _WITHIN_S, "BFD did not come up on every link")
        yield made


def moved_after_ms(log: str, since_s: float, state: str = "up") -> list[float]:
    """When stitches came to a state, by the log, in ms after a moment of the wall clock."""
    found = re.findall(rf"^(\S+ \S+) \S+ \S+ stitch=\d+ state={state} ", log, flags=re.MULTILINE)
    return [1e3 * (datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp() - since_s) for at in found]


def _all_seen(running: RunningController, lab: Lab) -> bool:
    known = {host["mac"] for host in running.get("/v1/hosts")}
    for side, name in enumerate(("e1", "e2"), start=1):
        new = [number for number in range(MACS) if _mac(side, number) not in known]
        _announce(lab.host(name), side, new)
    return len(known) >= 2 * MACS


def _introduce(lab: Lab) -> None:
    """The two hosts know each other's address for good: who answers ARP is not what is measured."""
    one, other = lab.host("he1"), lab.host("he2")
    for host, peer in ((one, other), (other, one)):
        known = ["ip", "neigh", "replace", peer.ip, "lladdr", peer.mac, "dev", "eth0", "nud", "permanent"]
        run(["nsenter", "-t", str(host.pid), "-n", *known])


def _measured(running: RunningController) -> bool:
    return all(link["latency_ms"] is not None for link in running.get("/v1/topology")["links"])


def _topology() -> LabTopology:
    names = ("e1", *(f"{way}{place}" for way in WAYS for place in (1, 2, 3)), "e2")
    nodes = tuple(Node(name, dpid) for dpid, name in enumerate(names, start=1))
    links = tuple(
        LabLink(one, other, rate_mbps=20.0, delay_ms=1.0 + slower)
        for slower, way in enumerate(WAYS)
        for one, other in pairwise(("e1", f"{way}1", f"{way}2", f"{way}3", "e2"))
    )
    hosts = (
        LabHost("he1", _mac(1, 0), _ip(1, 0), "e1", 1),
        LabHost("he2", _mac(2, 0), _ip(2, 0), "e2", len(names)),
    )
    return LabTopology("ladder", nodes, links, hosts)


def _capacities(lab: Lab) -> list[dict[str, Any]]:
    return [
        {"dpid": f"{row['src_dpid']:016x}", "port": row["src_port"], "capacity_mbps": CAPACITY_MBPS}
        for row in lab.capacities()
    ]


def _mac(side: int, number: int) -> str:
    return f"02:00:00:00:{side:02x}:{number + 1:02x}"


def _ip(side: int, number: int) -> str:
    return f"10.0.{side}.{number + 1}"


def _announce(host: HostHandle, side: int, numbers: list[int]) -> None:
    """Ask from every MAC for its own address (RFC 5227): who hears it knows the host."""
    with network_of(host.pid):
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with card:
        card.bind(("eth0", 0))
        for number in numbers:
            mac = _mac(side, number)
            raw, ip = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(_ip(side, number))
            body = bytes.fromhex("0001080006040001") + raw + ip + bytes(6) + ip
            card.send((b"\xff" * 6 + raw + _ARP.to_bytes(2) + body).ljust(60, b"\0"))
