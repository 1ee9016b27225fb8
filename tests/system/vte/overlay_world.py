"""Sites that are joined as in the field: a signer, a controller, and an agent at each, behind an internet.

Everything runs in enclosures, so all of it ends with them. `noc` has the signer and the controller.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from mininet_topos.handles import LabError
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.flow import PORT, Receiver, flow
from mininet_topos.overlay.underlay import ROUTER, Place, Underlay, Uplink
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.requests import MakeToken
from tests.system.waiting import wait_until
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Role
from vte_agent.talking import NotRunning, ask_status

NOC = "noc"
SITES = ("ber", "muc", "ham")
RELAY = "fra"
AGENTS = (*SITES, RELAY)
CONTROL_PORT = 6690
SOCKETS = "/run/wireguard"
LONG_S = 86_400.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
"""Who enters an enclosure leaves the working directory behind."""

_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33


def an_uplink(name: str, delay_ms: float, *, behind_nat: bool = False) -> Uplink:
    """A line that is wide enough for whatever these tests send."""
    return Uplink(name, rate_mbps=100.0, delay_ms=delay_ms, behind_nat=behind_nat)


def figure(name: str, value: float) -> None:
    """Show what was measured to whoever runs the tests with -s."""
    sys.stdout.write(f"{name}={value:.0f}\n")


def host(site: str) -> str:
    """An address behind a site."""
    return f"10.{SITES.index(site) + 1}.0.1"


@dataclass
class World:
    """All of it while it runs."""

    underlay: Underlay
    directory: Path
    controller: subprocess.Popen[str] | None = None
    settled_s: float = 0.0
    """When all of it was there first."""
    clean: dict[str, dict[str, str]] = field(default_factory=dict)
    """What there was at each place before its agent started."""
    _programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def at(self, place: str) -> Enclosure:
        return self.underlay.at(place)

    # the controller

    def start_controller(self, key_age_s: float = LONG_S) -> None:
        """Start it; it listens when this returns."""
        address = f"{self.underlay.address(NOC, 'up0')}:{CONTROL_PORT}"
        words = [sys.executable, "-m", "tests.system.vte.overlay_controller", str(self.directory), address]
        with self.log("controller").open("ab") as log:
            self.controller = subprocess.Popen(
                self.at(NOC).enter([*words, str(key_age_s)]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        assert self.controller.stdout
        assert self.controller.stdout.readline() == "ready\n", self.log_tail()

    def ask(self) -> dict[str, Any]:
        """What the controller knows."""
        assert self.controller and self.controller.stdin and self.controller.stdout
        self.controller.stdin.write("?\n")
        self.controller.stdin.flush()
        assert select.select([self.controller.stdout], [], [], 10)[0], self.log_tail()
        said: dict[str, Any] = json.loads(self.controller.stdout.readline())
        return said

    def signal_controller(self, number: int) -> None:
        assert self.controller
        os.killpg(self.controller.pid, number)

    def kill_controller(self) -> None:
        if self.controller is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.signal_controller(signal.SIGKILL)
        self.controller.wait(10)
        for pipe in (self.controller.stdin, self.controller.stdout):
            if pipe:
                pipe.close()
        self.controller = None

    @property
    def operator(self) -> SignerClient:
        """The signer, as whoever runs it asks it."""
        return SignerClient(self.directory / "signer" / "operator.sock")

    # agents

    def enroll(self, *names: str) -> None:
        """Let them in, all at once."""
        enrolling = {}
        for name in names:
            prefixes = (ip_network(f"{host(name)}/24", strict=False),) if name in SITES else ()
            role = Role.SITE if name in SITES else Role.RELAY
            token = self.operator.make_token(MakeToken(names=name, role=role, prefixes=prefixes)).token
            words = [sys.executable, "-m", "vte_agent", "enroll", "--name", name, "--state", str(self.state(name))]
            enrolling[name] = subprocess.Popen(
                self.at(name).enter(words),
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
            said, _ = process.communicate(timeout=30)
            assert process.returncode == 0, f"{name}: {said}"

    def start_agent(self, name: str) -> None:
        """Start an agent; returns at once."""
        words = [sys.executable, "-m", "vte_agent", "run", "--state", str(self.state(name))]
        for uplink in ("up0", "up1"):
            words += ["--uplink", f"{uplink}={uplink}"]
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

    def has(self, name: str) -> Has | None:
        """What an agent says of itself; None while it does not."""
        try:
            said = ask_status(self.state(name))
        except NotRunning:
            return None
        return Has.model_validate_json(said) if said != "null" else None

    def state(self, name: str) -> Path:
        return self.directory / name

    def wanted(self, name: str) -> dict[str, Any]:
        """What the agent keeps of what the controller wants of it."""
        signed = json.loads((self.state(name) / "wanted.json").read_text())
        body: dict[str, Any] = json.loads(base64.b64decode(signed["payload"]))
        return body

    def taken(self, name: str, target: str) -> str | None:
        """The tunnel that the route from one site to another takes."""
        has = self.has(name)
        routes = has.routes if has else ()
        return next((r.tunnel for r in routes if str(r.prefix) == f"{host(target)[:-1]}0/24"), None)

    def up(self, name: str) -> dict[str, str]:
        """The tunnels of an agent by name, with their states."""
        has = self.has(name)
        return {one.name: one.state.value for one in has.tunnels} if has else {}

    def pings(self, source: str, target: str) -> bool:
        words = ["ping", "-n", "-c1", "-W1", "-I", host(source), host(target)]
        try:
            self.at(source).run(words)
        except LabError:
            return False
        return True

    def settled(self, names: tuple[str, ...] = AGENTS) -> bool:
        """All tunnels of these are up, and every route of a site goes somewhere."""
        for name in names:
            has = self.has(name)
            if has is None or not has.tunnels or any(one.state != "up" for one in has.tunnels):
                return False
            routes = {str(route.prefix) for route in has.routes if route.tunnel}
            if name in SITES and len(routes) < sum(other in SITES for other in names) - 1:
                return False
        return True

    def wait_settled(self, names: tuple[str, ...] = AGENTS, within_s: float = 45.0) -> None:
        wait_until(lambda: self.settled(names), within_s, lambda: f"not settled: {self.describe()}")

    # what runs and lies at a place

    def listing(self, name: str) -> dict[str, str]:
        """Links, addresses, routes, rules, filters, sockets and processes of a place."""
        asked = {
            "links": ["ip", "-o", "link"],
            "addresses": ["ip", "-o", "addr"],
            "routes": ["ip", "route", "show", "table", "all"],
            "routes 6": ["ip", "-6", "route", "show", "table", "all"],
            "rules": ["ip", "rule"],
            "rules 6": ["ip", "-6", "rule"],
            "filters": ["nft", "list", "ruleset"],
            "sockets": ["ls", SOCKETS],
            "udp": ["ss", "-Huan"],
            "processes": ["ps", "-eo", "stat,args", "--no-headers"],
        }
        said = {what: self.at(name).run(words) for what, words in asked.items()}
        # Zombies wait for an init that a real machine has; ps is in its own list.
        said["processes"] = "\n".join(
            sorted(
                line.split(None, 1)[1]
                for line in said["processes"].splitlines()
                if not line.startswith("Z") and "ps -eo" not in line
            )
        )
        return said

    def processes(self, name: str, word: str) -> dict[int, str]:
        """Processes of a place by the number they have inside."""
        lines = self.at(name).run(["ps", "-eo", "pid,stat,args", "--no-headers"]).splitlines()
        split = [line.split(None, 2) for line in lines]
        return {int(pid): words for pid, state, words in split if word in words and not state.startswith("Z")}

    def device(self, name: str, tunnel: str | None) -> str:
        """The device of a tunnel, by its alias."""
        for line in self.at(name).run(["ip", "-o", "link"]).splitlines():
            if tunnel and line.rstrip().endswith(tunnel):
                return line.split(":")[1].strip()
        raise AssertionError(f"no device of tunnel {tunnel} at {name}")

    @contextmanager
    def flow(self, source: str, target: str, port: int = PORT) -> Iterator[Receiver]:
        """A UDP packet every 5 ms, as long as the body runs."""
        ends = self.at(source), host(source), self.at(target), host(target)
        with flow(*ends, port, ENVIRONMENT) as found:
            wait_until(lambda: len(found.read()) > 40, 10, lambda: f"no packet comes: {self.describe()}")
            found.forget()
            yield found

    # the ear at the internet

    def listen(self) -> None:
        """Count from now on what crosses the internet with an address of the inside."""
        inside = "{ 10.0.0.0/8, 100.64.0.0/10 }"
        rules = "\n".join(f"  ip {side} {inside} counter name clear accept" for side in ("saddr", "daddr"))
        hook = "type filter hook prerouting priority -300;"
        body = f" counter clear {{ }}\n chain passing {{\n  {hook}\n{rules}\n }}\n"
        text = f"table inet ear {{}}\ndelete table inet ear\ntable inet ear {{\n{body}}}\n"
        self.at(ROUTER).run(["nft", "-f", "-"], stdin=text)

    def heard(self) -> int:
        """How many packets crossed the internet unencrypted."""
        said = json.loads(self.at(ROUTER).run(["nft", "-j", "list", "counters", "table", "inet", "ear"]))
        return int(next(part["counter"]["packets"] for part in said["nftables"] if "counter" in part))

    # for whoever reads a failure

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def log_tail(self) -> str:
        def tail(path: Path) -> str:
            return "\n".join(path.read_text(errors="replace").splitlines()[-25:])

        return "\n".join(f"--- {path.name}\n{tail(path)}" for path in sorted(self.directory.glob("*.log")))

    def describe(self) -> str:
        said = []
        for name in AGENTS:
            has = self.has(name)
            if has is None:
                said.append(f"{name}: silent")
                continue
            tunnels = {one.name: f"{one.state.value} {one.why}" for one in has.tunnels}
            routes = {str(one.prefix): f"{one.tunnel} ({one.why})" for one in has.routes}
            said.append(f"{name}: generation {has.generation} {tunnels} {routes} {has.problems}")
        return "\n".join(said)


@contextmanager
def overlay_world(directory: Path, places: Mapping[str, Place] | None = None) -> Iterator[World]:
    """All agents enrolled and started; nothing is left afterwards, however it ends."""
    known = {
        NOC: Place(NOC, (an_uplink("up0", 1.0),)),
        **{name: Place(name, (an_uplink("up0", 2.0), an_uplink("up1", 4.0))) for name in AGENTS},
        **(places or {}),
    }
    with ExitStack() as stack:
        underlay = stack.enter_context(Underlay(tuple(known.values())))
        world = World(underlay, directory)
        world.listen()
        stack.callback(world.kill_controller)
        for name in AGENTS:
            inside = underlay.at(name)
            # Otherwise all nodes of this machine would share them.
            inside.run(["mkdir", "-p", SOCKETS])
            inside.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "none", SOCKETS])
            inside.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
            if name in SITES:
                inside.run(["ip", "addr", "add", f"{host(name)}/24", "dev", "lo"])
        words = [sys.executable, "-m", "ryu_apps.overlay.signing", "--state", str(directory / "signer")]
        with world.log("signer").open("ab") as log:
            underlay.at(NOC).start(words, output=log, environment=ENVIRONMENT)
        door = directory / "signer" / "operator.sock"
        wait_until(door.exists, 15, lambda: f"no signer: {world.log_tail()}")
        world.start_controller()
        world.enroll(*AGENTS)
        for name in AGENTS:
            world.clean[name] = world.listing(name)
            world.start_agent(name)
        yield world
