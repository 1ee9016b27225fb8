"""A controller in a process of its own, and the lab it controls, as system tests hold them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from mininet_topos import ownership
from mininet_topos.lab import Lab
from mininet_topos.topology import LabTopology
from ryu_apps.store import StateStore
from tests.system.conftest import eventually
from tests.system.flows import FlowKey, all_flows
from tests.system.frames import announce
from tests.system.waiting import wait_until

LinkEnds = tuple[str, int, str, int]
"""A directed link: source dpid and port, destination dpid and port."""

START_S = 60.0
"""Importing everything takes two seconds on a quiet machine, and many times that on a busy one."""


class RunningController:
    """A controller process. `api` is a client with its token; it is another one after a restart."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.log_file = state.with_name(f"{state.name}.log")
        self.of_port = 0
        self.api = httpx.Client()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process, which is also the number of its session."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port for switches that it had before; returns when it listens."""
        ports = self.state / "ports"
        ports.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            # A session of its own, by which its children are found.
            self._process = subprocess.Popen(
                controller_command(self.state, self.of_port, *self._options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process = self._process
        wait_until(
            lambda: ports.exists() or process.poll() is not None, START_S, "the controller says where it listens"
        )
        assert process.poll() is None, f"the controller ended at once:\n{self.log_tail()}"
        numbers = dict(line.split("=") for line in ports.read_text().split())
        self.of_port = int(numbers["openflow"])
        token = (self.state / "token").read_text().strip()
        self.api.close()
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{numbers['rest']}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=40.0,
            trust_env=False,
        )

    def kill9(self) -> None:
        """End it without any warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again on the same state and the same port for switches."""
        self.start()

    def stop(self) -> None:
        """End it as an operator would; whatever happens it is gone afterwards, and so are its children."""
        self.api.close()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not eventually(lambda: not self.session(), 5.0):
            self.kill_session()

    def kill_session(self) -> None:
        """End what it has left behind."""
        for pid in self.session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def session(self) -> list[int]:
        """The processes of its session that run."""
        return _session(self.pid)

    def get(self, path: str) -> Any:
        """What the API answers to GET /v1path, which has to succeed."""
        answer = self.api.get(f"/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log(self) -> str:
        """All it has logged."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log().splitlines()[-lines:])

    # what the API says, in the words of the tests

    def links(self) -> dict[LinkEnds, dict[str, Any]]:
        """The links by their ends."""
        return {
            (link["src_dpid"], link["src_port"], link["dst_dpid"], link["dst_port"]): link
            for link in self.get("/topology")["links"]
        }

    def host(self, mac: str) -> dict[str, Any] | None:
        """The host with this MAC, if it was seen."""
        found: dict[str, Any] | None = next((host for host in self.get("/hosts") if host["mac"] == mac), None)
        return found

    def stitch(self, number: int) -> dict[str, Any]:
        """One stitch."""
        found: dict[str, Any] = self.get(f"/stitches/{number}")
        return found

    def create_stitch(self, source: str, destination: str, mbps: float = 1.0) -> dict[str, Any]:
        """Make a stitch between two addresses, which has to be UP within five seconds."""
        body = {"source": source, "destination": destination, "bandwidth_mbps": mbps}
        answer = self.api.post("/v1/stitches", params={"wait_s": 5}, json=body)
        assert answer.status_code == 201, answer.text
        stitch: dict[str, Any] = answer.json()
        assert stitch["state"] == "up", stitch
        return stitch

    def delete_stitch(self, number: int) -> None:
        """Take a stitch away and wait until it is gone."""
        answer = self.api.delete(f"/v1/stitches/{number}")
        assert answer.status_code in (200, 202), answer.text
        wait_until(lambda: self.stitch(number)["state"] == "terminated", 5.0, lambda: self.stitch(number))


@dataclass(frozen=True)
class Fabric:
    """A lab and the controller it is under."""

    lab: Lab
    controller: RunningController

    def ends(self, a: str, b: str) -> LinkEnds:
        """The directed link from router a to router b, as it was wired."""
        return (
            self.dpid(a),
            self.lab.port_no(a, b),
            self.dpid(b),
            self.lab.port_no(b, a),
        )

    def wired(self) -> set[LinkEnds]:
        """Every directed link, as it was wired."""
        links = self.lab.topology.links
        return {ends for link in links for ends in (self.ends(link.a, link.b), self.ends(link.b, link.a))}

    def dpid(self, router: str) -> str:
        """The dpid of a router as the API writes it."""
        return f"{next(node.dpid for node in self.lab.topology.nodes if node.name == router):016x}"

    def router(self, dpid: str) -> str:
        """The router with this dpid."""
        return next(node.name for node in self.lab.topology.nodes if f"{node.dpid:016x}" == dpid)

    def path(self, stitch: dict[str, Any]) -> list[str]:
        """The routers on the path of a stitch; none while it has no path."""
        return [self.router(hop["dpid"]) for hop in stitch["path"] or []]

    def bridges(self) -> dict[str, str]:
        """The bridge of every router."""
        return {name: self.lab.bridge(name) for name in self.lab.topology.node_names}

    def wait_for_links(self, measure: str = "latency_ms") -> None:
        """Wait until every link is found and has this measure: path_latency_ms is what the planner knows."""

        def measured() -> bool:
            links = self.controller.links()
            return links.keys() == self.wired() and all(link[measure] is not None for link in links.values())

        wait_until(measured, 15.0, lambda: f"every link found and measured: {self.controller.links()}")

    def wait_for_hosts(self) -> None:
        """Let every host say that it is there, and wait until the controller has heard it."""
        lab = self.lab

        def heard() -> bool:
            known = {host["mac"] for host in self.controller.get("/hosts")}
            for host in lab.hosts():
                if host.mac not in known:
                    announce(host)
            return known >= {host.mac for host in lab.hosts()}

        wait_until(heard, 10.0, "every host known")

    def wait_for_rules(self) -> None:
        """Wait until every switch has a rule to every host, and no rule has come or gone for half a second."""
        macs = {host.mac for host in self.lab.hosts()}
        seen: tuple[float, set[FlowKey]] = (0.0, set())

        def there() -> bool:
            nonlocal seen
            now_s, keys = time.monotonic(), set(all_flows(self.bridges()))
            if keys != seen[1]:
                seen = now_s, keys
            ways = {
                (bridge, mac) for bridge, _, match, *_ in keys for mac in macs if match.endswith(f"dl_dst={mac}")
            }
            return len(ways) == len(macs) * len(self.bridges()) and now_s - seen[0] > 0.5

        wait_until(there, 10.0, "every rule on its switch")

    def wait_for_fabric_saved(self) -> None:
        """Wait until all that is known of the fabric would be known after a restart."""
        lab, database = self.lab, f"sqlite:///{self.controller.state / 'lockstitch.db'}"

        def saved() -> bool:
            with contextlib.closing(StateStore(database)) as store:
                network = store.network()
            return (
                network is not None
                and {(f"{a:016x}", b, f"{c:016x}", d) for a, b, c, d in network.links} == self.wired()
                and all(link.latency_ms is not None for link in network.links.values())
                and network.hosts.keys() >= {host.mac for host in lab.hosts()}
            )

        wait_until(saved, 10.0, "the fabric saved")

    def tell_capacities(self) -> None:
        """Tell the controller what the links carry."""
        body = [
            {"dpid": f"{row['src_dpid']:016x}", "port": row["src_port"], "capacity_mbps": row["capacity_mbps"]}
            for row in self.lab.capacities()
        ]
        self.controller.api.put("/v1/links/capacities", json=body).raise_for_status()


@contextmanager
def running_controller(state: Path, *options: str) -> Iterator[RunningController]:
    """A controller that is gone when the block ends. Fails when it has logged a traceback."""
    controller = RunningController(state, *options)
    try:
        controller.start()
        yield controller
    finally:
        controller.stop()
    assert "Traceback" not in controller.log(), controller.log()


@contextmanager
def running_fabric(topology: LabTopology, state: Path, *options: str) -> Iterator[Fabric]:
    """A lab whose links and hosts the controller knows; nothing of either stays."""
    with running_controller(state, *options) as controller:
        with Lab(topology, controller=f"127.0.0.1:{controller.of_port}") as lab:
            fabric = Fabric(lab, controller)
            try:
                fabric.wait_for_links()
                fabric.tell_capacities()
                fabric.wait_for_hosts()
                fabric.wait_for_rules()
            except AssertionError as error:
                error.add_note(controller.log_tail())
                raise
            yield fabric
        assert ownership.devices_of(lab.prefix) == ()
        assert [bridge for bridge in ownership.lab_bridges() if bridge.prefix == lab.prefix] == []


def controller_command(state: Path, of_port: int = 0, *options: str) -> list[str]:
    """The command that starts a controller; it makes no stitches of its own."""
    command = [sys.executable, "-m", "ryu_apps", "controller", "--state", str(state), "--of-port", str(of_port)]
    return [*command, "--rest-port", "0", "--trigger", "off", *options]


def _session(number: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        # Behind the name, which is in brackets: state, parent, process group, session.
        state, _, _, session = text.rpartition(")")[2].split()[:4]
        if int(session) == number and state not in "ZX":
            found.append(int(status.parent.name))
    return found


def pause_until(moment_s: float) -> None:
    """Wait for a moment of the monotonic clock, where time itself is what a test is about."""
    time.sleep(max(0.0, moment_s - time.monotonic()))
