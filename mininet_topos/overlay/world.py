"""Sites and relays joined as in the field: a signer, a controller, an agent at each, an internet between them.

Everything runs in enclosures, so all of it ends with them. `noc` has the signer and the controller.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx

from mininet_topos.handles import LabError
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.ear import Ear
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.flow import PORT, Receiver, flow
from mininet_topos.overlay.sender import EVERY_S, Rate
from mininet_topos.overlay.underlay import ROUTER, Place, Underlay, Uplink
from mininet_topos.waiting import wait_until
from ryu_apps.overlay.card import CARD_FILE, read_card
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.places import in_state
from ryu_apps.overlay.signing.requests import MakeToken
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Role
from vte_agent.talking import NotRunning, ask_status

NOC = "noc"
CONTROL_PORT = 6690
SOCKETS, RUNTIME = "/run/wireguard", "/run/lockstitch"
"""What wireguard-go and the agent's charon keep their sockets in."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""Who enters an enclosure leaves the working directory behind."""

_NOC_UPLINK = Uplink("up0", rate_mbps=100.0, delay_ms=1.0)
_START_S, _ENROLL_S = 120.0, 120.0


@dataclass(frozen=True)
class Node:
    """A site with the network behind it, or a relay, which has none."""

    name: str
    uplinks: tuple[Uplink, ...]
    prefix: IPv4Network | None = None

    @property
    def role(self) -> Role:
        """What it is in the overlay."""
        return Role.SITE if self.prefix is not None else Role.RELAY

    @property
    def gateway(self) -> str:
        """The address of the site itself in its network. Raises LabError."""
        if self.prefix is None:
            raise LabError(f"{self.name} is a relay and has no network behind it")
        return str(self.prefix[1])


@dataclass
class World:
    """All of it while it runs (overlay_world makes one). Raises LabError."""

    underlay: Underlay
    directory: Path
    nodes: dict[str, Node]
    ear: Ear
    controller: subprocess.Popen[bytes] | None = None
    _programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _api: httpx.Client | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Those with a network behind them."""
        return tuple(node.name for node in self.nodes.values() if node.prefix is not None)

    def at(self, place: str) -> Enclosure:
        """Where a place's programs run."""
        return self.underlay.at(place)

    def host(self, site: str) -> str:
        """An address behind a site: its own."""
        return self.nodes[site].gateway

    # the controller and its signer

    def start_signer(self) -> None:
        """Start it; it answers when this returns."""
        words = [sys.executable, "-m", "ryu_apps.overlay.signing", "--state", str(self.signer)]
        with self.log("signer").open("ab") as log:
            self.at(NOC).start(words, output=log, environment=ENVIRONMENT)
        wait_until(in_state(self.signer).operator.exists, 20, lambda: f"no signer: {self.log_tail()}")

    @property
    def operator(self) -> SignerClient:
        """The signer, as whoever runs it asks it."""
        return SignerClient(in_state(self.signer).operator)

    @property
    def signer(self) -> Path:
        """The signer's state directory."""
        return self.directory / "signer"

    @property
    def state(self) -> Path:
        """The controller's state directory."""
        return self.directory / "controller"

    def start_controller(self, *options: str) -> None:
        """Start `lockstitch controller` with these options too; it serves when this returns."""
        self.state.mkdir(exist_ok=True)
        ports = self.state / "ports"
        ports.unlink(missing_ok=True)
        address = f"{self.underlay.address(NOC, 'up0')}:{CONTROL_PORT}"
        words = [sys.executable, "-m", "ryu_apps", "controller", "--state", str(self.state)]
        words += ["--of-port", "0", "--rest-port", "0", "--trigger", "off"]
        words += ["--overlay", address, "--overlay-signer", str(in_state(self.signer).controller), *options]
        with self.log("controller").open("ab") as log:
            process = self.at(NOC).start(words, output=log, environment=ENVIRONMENT)
        self.controller = process
        wait_until(
            lambda: ports.exists() or process.poll() is not None,
            _START_S,
            lambda: f"no controller: {self.log_tail()}",
        )
        if process.poll() is not None:
            raise LabError(f"the controller has ended: {self.log_tail()}")
        rest = dict(line.split("=") for line in ports.read_text().split())["rest"]
        bearer = {"Authorization": f"Bearer {(self.state / 'token').read_text().strip()}"}
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{rest}/v1", headers=bearer, timeout=30, trust_env=False
        )

    def trust_controller(self) -> None:
        """Have sites follow it."""
        self.operator.trust(read_card((self.state / CARD_FILE).read_text()))

    @property
    def url(self) -> str:
        """Where it serves its API, inside its own enclosure."""
        if self._api is None:
            raise LabError("there is no controller to ask")
        return str(self._api.base_url.copy_with(path="/")).rstrip("/")

    def ask(self, path: str, **query: str) -> Any:
        """What the controller's API answers to a GET."""
        return self.call("GET", path, params=query)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """What the controller's API answers."""
        if self._api is None:
            raise LabError("there is no controller to ask")
        try:
            with network_of(self.at(NOC).pid):
                answer = self._api.request(method, path, **arguments)
            return answer.raise_for_status().json() if answer.content else None
        except httpx.HTTPStatusError as error:
            raise LabError(f"{method} {path}: {error.response.text[:500]}") from error
        except httpx.HTTPError as error:
            raise LabError(f"{method} {path}: {error!r}; {self.log_tail()}") from error

    def signal_controller(self, number: int) -> None:
        """Send it a signal."""
        if self.controller is None:
            raise LabError("there is no controller to send a signal to")
        os.killpg(self.controller.pid, number)

    def kill_controller(self) -> None:
        """End it as a crash would, if there is one."""
        if self._api is not None:
            self._api.close()
            self._api = None
        if self.controller is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal_controller(signal.SIGKILL)
            self.controller.wait(10)
            self.controller = None

    # agents

    def enroll(self, *names: str) -> None:
        """Let them in, all at once."""
        enrolling = {}
        for name in names:
            node = self.nodes[name]
            prefixes = (node.prefix,) if node.prefix is not None else ()
            token = self.operator.make_token(MakeToken(names=name, role=node.role, prefixes=prefixes)).token
            words = ["enroll", "--name", name, "--state", str(self.agent_state(name))]
            enrolling[name] = subprocess.Popen(
                self.at(name).enter([sys.executable, "-m", "vte_agent", *words]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=ENVIRONMENT,
            )
            pipe = enrolling[name].stdin
            assert pipe
            pipe.write(f"{token}\n")
            pipe.flush()
        for name, process in enrolling.items():
            try:
                said, _ = process.communicate(timeout=_ENROLL_S)
            except subprocess.TimeoutExpired as error:
                raise LabError(f"{name} was not let in within {_ENROLL_S:g} s; {self.log_tail()}") from error
            if process.returncode:
                raise LabError(f"{name} was not let in: {said}")

    def start_agent(self, name: str, *options: str) -> None:
        """Start an agent; returns at once."""
        words = [sys.executable, "-m", "vte_agent", "run", "--state", str(self.agent_state(name)), *options]
        for uplink in self.nodes[name].uplinks:
            words += ["--uplink", f"{uplink.name}={uplink.name}"]
        with self.log(name).open("ab") as log:
            self._programs[name] = self.at(name).start(words, output=log, environment=ENVIRONMENT)

    def agent_pid(self, name: str) -> int:
        """The agent itself, and not what entered the enclosure for it."""
        outer = self._programs[name].pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def signal_agent(self, name: str, number: int, within_s: float = 20.0) -> None:
        """Send a signal that ends the agent, and wait until it has."""
        os.kill(self.agent_pid(name), number)
        self._programs.pop(name).wait(within_s)

    def power_off(self, name: str) -> None:
        """All of a place stops in the middle of what it does, and its lines are silent."""
        for uplink in self.nodes[name].uplinks:
            self.underlay.link(name, uplink.name).cut()
        # All but its first process and the one that does it.
        self.at(name).run(["sh", "-c", "kill -9 -1"])
        self._programs.pop(name).wait(10)

    def power_on(self, name: str) -> None:
        """Its lines carry packets again, and its agent starts."""
        for uplink in self.nodes[name].uplinks:
            self.underlay.link(name, uplink.name).restore()
        self.start_agent(name)

    def agent_state(self, name: str) -> Path:
        """An agent's state directory."""
        return self.directory / name

    def has(self, name: str) -> Has | None:
        """What an agent says of itself; None while it does not."""
        try:
            said = ask_status(self.agent_state(name))
        except NotRunning:
            return None
        return Has.model_validate_json(said) if said != "null" else None

    def wanted(self, name: str) -> dict[str, Any]:
        """What the agent keeps of what the controller wants of it."""
        signed = json.loads((self.agent_state(name) / "wanted.json").read_text())
        body: dict[str, Any] = json.loads(base64.b64decode(signed["payload"]))
        return body

    def taken(self, name: str, target: str) -> str | None:
        """The tunnel that the route from one site to another takes."""
        has = self.has(name)
        prefix = self.nodes[target].prefix
        return next((route.tunnel for route in (has.routes if has else ()) if prefix in route.prefixes), None)

    def leaves_by(self, name: str, target: str) -> str:
        """The uplink by which packets of one site leave for another; "" while that is not known."""
        taken = self.taken(name, target)
        return next((str(one["uplink"]) for one in self.wanted(name)["tunnels"] if one["name"] == taken), "")

    def route_why(self, name: str, target: str) -> str:
        """Why the route from one site to another takes the tunnel that it takes, as the site says."""
        has, prefix = self.has(name), self.nodes[target].prefix
        return next((route.why for route in (has.routes if has else ()) if prefix in route.prefixes), "")

    def up(self, name: str) -> dict[str, str]:
        """The tunnels of an agent by name, with their states."""
        has = self.has(name)
        return {one.name: one.state.value for one in has.tunnels} if has else {}

    def joined(self, names: Sequence[str] = ()) -> bool:
        """Every one of these (or all) has a way to each site among them: relays too, or packets end there."""
        nodes = [self.nodes[name] for name in names] or list(self.nodes.values())
        for node in nodes:
            has = self.has(node.name)
            reports = [route for route in has.routes if route.tunnel] if has is not None else []
            routes = {prefix for route in reports for prefix in route.prefixes}
            if not {other.prefix for other in nodes if other.prefix not in (None, node.prefix)} <= routes:
                return False
        return True

    def settled(self, names: Sequence[str] = ()) -> bool:
        """That, and all tunnels of these are up."""
        for name in names or tuple(self.nodes):
            has = self.has(name)
            if has is None or not has.tunnels or any(one.state != "up" for one in has.tunnels):
                return False
        return self.joined(names)

    def wait_settled(self, names: Sequence[str] = (), within_s: float = 45.0) -> None:
        """Wait for that."""
        wait_until(lambda: self.settled(names), within_s, lambda: f"not settled: {self.describe()}", 0.1)

    # traffic

    def pings(self, source: str, target: str) -> bool:
        """Whether one site reaches another."""
        words = ["ping", "-n", "-c1", "-W1", "-I", self.host(source), self.host(target)]
        try:
            self.at(source).run(words)
        except LabError:
            return False
        return True

    @contextmanager
    def flow(
        self,
        source: str,
        target: str,
        port: int = PORT,
        rate: Rate | None = None,
        every_s: float = EVERY_S,
    ) -> Iterator[Receiver]:
        """A UDP packet every 5 ms unless told otherwise, or so many Mbit/s, as long as the body runs."""
        ends = self.at(source), self.host(source), self.at(target), self.host(target)
        with flow(*ends, port, ENVIRONMENT, rate, every_s) as found:
            wait_until(lambda: len(found.read()) > 40, 30, lambda: f"no packet comes: {self.describe()}")
            found.forget()
            yield found

    # for whoever reads a failure

    def log(self, name: str) -> Path:
        """What a program has said."""
        return self.directory / f"{name}.log"

    def log_tail(self) -> str:
        """The last that all programs have said."""

        def tail(path: Path) -> str:
            return "\n".join(path.read_text(errors="replace").splitlines()[-25:])

        return "\n".join(f"--- {path.name}\n{tail(path)}" for path in sorted(self.directory.glob("*.log")))

    def describe(self) -> str:
        """What all agents say."""
        said = []
        for name in self.nodes:
            has = self.has(name)
            if has is None:
                said.append(f"{name}: silent")
                continue
            tunnels = {one.name: f"{one.state.value} {one.why}" for one in has.tunnels}
            routes = {str(prefix): f"{one.tunnel} ({one.why})" for one in has.routes for prefix in one.prefixes}
            said.append(f"{name}: generation {has.generation} {tunnels} {routes} {has.problems}")
        return "\n".join(said)


def own_sockets(inside: Enclosure) -> None:
    """Have what agents keep of running tunnels end with the place: all nodes of a machine would share it."""
    for directory in (SOCKETS, RUNTIME):
        inside.run(["mkdir", "-p", directory])
        inside.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "none", directory])


@contextmanager
def overlay_world(directory: Path, nodes: Sequence[Node], between: type[Underlay] = Underlay) -> Iterator[World]:
    """The places with all that agents need, and a signer; nothing is left afterwards, however it ends."""
    places = (Place(NOC, (_NOC_UPLINK,)), *(Place(node.name, node.uplinks) for node in nodes))
    with ExitStack() as stack:
        underlay = stack.enter_context(between(places))
        ear = Ear(underlay.at(ROUTER))
        world = World(underlay, directory, {node.name: node for node in nodes}, ear)
        stack.callback(world.kill_controller)
        for node in nodes:
            inside = underlay.at(node.name)
            own_sockets(inside)
            inside.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        world.start_signer()
        yield world
