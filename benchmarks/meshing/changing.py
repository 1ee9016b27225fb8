"""An overlay of many sites: how long until each agent whom a change concerns has it, and until all are back.

Signer and controller are what everybody runs, in processes of their own; the agents are simulated, all in this.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from benchmarks.meshing.loop import Loop
from benchmarks.meshing.simulated import News, SimulatedAgent, let_in
from benchmarks.support import proc
from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import MeasurementFailed, note
from ryu_apps.interpreter import tuned
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.card import CARD_FILE, read_card
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.home import KEY, LEDGER
from ryu_apps.overlay.signing.ledger import Ledger
from ryu_apps.overlay.signing.places import in_state
from vte_agent.identity import Identity
from vte_agent.private_files import write_file
from vte_agent.protocol.base import public_text
from vte_agent.protocol.members import Member, Role, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import Wanted

RELAYS = 2
_VALID_S = 30 * 86_400
_WITHIN_S, _QUIET_S = 180.0, 6.0
_POLL_S, _LOOK_S = 0.05, 0.5
_CALM_S, _CALM_WITHIN_S = 1.5, 30.0
_FIRST_PORT = 5000


@dataclass(frozen=True)
class Reached:
    """Seconds from a change to its coming to each agent, and to its being carried out there."""

    came_s: tuple[float, ...]
    done_s: tuple[float, ...]


@dataclass
class Crowd:
    """The agents of a running overlay. changes are made one after the other; each waits for the one before."""

    agents: list[SimulatedAgent]
    loop: Loop
    operator: SignerClient
    controller: RunningController
    another: Callable[[], RunningController]
    """Starts the next controller in the place of one that has ended."""
    news: list[News] = field(default_factory=list)
    _port: int = _FIRST_PORT

    def wait_settled(self) -> None:
        """All tunnels are up, and nobody has been told anything for a while."""
        if not self._is_quiet(_QUIET_S, _WITHIN_S, self._is_whole):
            raise MeasurementFailed(f"the overlay has not settled within {_WITHIN_S:g} s")

    def wait_calm(self) -> None:
        """What followed from the last change is over too; where it is not, the next one is made all the same."""
        if not self._is_quiet(_CALM_S, _CALM_WITHIN_S, lambda: True):
            note(f"agents are told more and more for {_CALM_WITHIN_S:g} s")

    def _is_whole(self) -> bool:
        """Whether all agents are connected and all tunnels up, as the controller sees it."""
        said = self.controller.get("/v1/overlay")
        return len(said["connected"]) == len(self.agents) and said["tunnels"] == said["tunnels_up"] > 0

    def _is_up_to_date(self) -> bool:
        """Whether each agent has said that it carries out what the controller has told it last."""
        sites = self.controller.get("/v1/overlay/sites")
        told = [(one["generation_told"], one["generation_done"]) for one in sites if one["connected"]]
        return len(told) == len(self.agents) and all(None not in pair and pair[1] >= pair[0] for pair in told)

    def peak_mb(self) -> float:
        """The most memory that the controller's process has had."""
        return proc.peak_rss_mb(self.controller.pid)

    def restart(self) -> float:
        """The controller is killed and started again with what it has stored: seconds from then until all is well.

        Agents are connected again, told anew, and do as they are told; all tunnels are up.
        """
        began_s = time.monotonic()
        self.controller.kill()
        self.controller = self.another()
        started_s = time.monotonic() - began_s
        _wait(lambda: self._is_whole() and self._is_up_to_date(), "not all agents are back", _LOOK_S)
        note(f"restart: started_s={started_s:.1f}")
        return time.monotonic() - began_s

    def _is_quiet(self, for_s: float, within_s: float, holds: Callable[[], bool]) -> bool:
        """Whether for so long nothing comes to any agent, and something holds, before the time is over."""
        give_up_s = time.monotonic() + within_s
        known, since_s = -1, time.monotonic()
        while time.monotonic() - since_s < for_s:
            if len(self.news) != known or not holds():
                known, since_s = len(self.news), time.monotonic()
            if time.monotonic() > give_up_s:
                return False
            time.sleep(_LOOK_S)
        return True

    def moved(self) -> Reached:
        """A site's uplink gets another address, which the ends of its tunnels have to know."""
        agent = random.choice(self.agents[RELAYS:])
        address = agent.address + 0x10000
        at = len(self.news)
        began_s = time.time()
        self.loop.call(agent.move_to, address)

        def knows(one: News) -> bool:
            return isinstance(one.what, Wanted) and any(
                tunnel.endpoint is not None and tunnel.endpoint.address == address for tunnel in one.what.tunnels
            )

        return self._reached(began_s, at, knows, {one.serial for one in self.agents[:RELAYS]})

    def defined(self) -> Reached:
        """A class of applications is another one: every site is told."""
        self._port = port = self._port + 1
        at = len(self.news)
        began_s = time.time()
        matches = [{"protocol": "udp", "ports": f"{port}"}]
        self.controller.put("/v1/overlay/classes/measured", {"order": 1, "matches": matches})

        def knows(one: News) -> bool:
            return isinstance(one.what, Wanted) and any(
                match.ports == (port, port) for known in one.what.classes for match in known.matches
            )

        return self._reached(began_s, at, knows, {one.serial for one in self.agents})

    def put_out(self) -> Reached:
        """A site is revoked: every other one hears it, and those with a tunnel to it cut it off by that."""
        serial = self.agents[-1].serial
        at = len(self.news)
        began_s = time.time()
        self.operator.revoke(serial)

        def knows(one: News) -> bool:
            return isinstance(one.what, Roll) and serial in one.what.revoked

        self.agents = [one for one in self.agents if one.serial != serial]
        return self._reached(began_s, at, knows, {one.serial for one in self.agents})

    def _reached(self, began_s: float, at: int, knows: Callable[[News], bool], whom: set[int]) -> Reached:
        """Wait until all these know; what came before `at` is of another change."""
        give_up_s = time.monotonic() + _WITHIN_S
        known: dict[int, News] = {}
        while whom - known.keys():
            for one in self.news[at:]:
                at += 1
                if one.serial in whom and one.serial not in known and knows(one):
                    known[one.serial] = one
            if time.monotonic() > give_up_s:
                raise MeasurementFailed(f"{len(whom - known.keys())} of {len(whom)} agents are not reached")
            time.sleep(_POLL_S)
        return Reached(
            tuple(one.came_s - began_s for one in known.values()),
            tuple(one.done_s - began_s for one in known.values()),
        )


@contextlib.contextmanager
def crowd(directory: Path, agents: int) -> Iterator[Crowd]:
    """So many agents, on the channel and with their tunnels up: relays that pass on for all others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    identity = Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
    state, signer = directory / "controller", directory / "signer"
    state.mkdir()
    with contextlib.ExitStack() as stack:
        # Agents have a process each, and no pauses for what a thousand others have left.
        stack.enter_context(tuned())
        policy_key, members = _members(signer, agents, identity)
        authority = Authority(state)
        kept = [
            (member, let_in(directory, authority, address, policy_key, member, signed))
            for member, signed in members
        ]
        stack.enter_context(_signing(signer))
        options = ("--overlay", address, "--overlay-signer", f"{in_state(signer).controller}")

        def another() -> RunningController:
            return stack.enter_context(controller(state, trigger="off", options=options))

        _wait(in_state(signer).operator.exists, "no signer")
        running = another()
        operator = SignerClient(in_state(signer).operator)
        with contextlib.closing(socket.socket()) as door:
            _wait(lambda: door.connect_ex(("127.0.0.1", port)) == 0, "the overlay does not listen")
        operator.trust(read_card((state / CARD_FILE).read_text()))
        loop = stack.enter_context(contextlib.closing(Loop()))
        made = Crowd([], loop, operator, running, another)

        async def begin() -> None:
            made.agents = [SimulatedAgent(member, identity, files, made.news.append) for member, files in kept]
            tasks.extend(asyncio.create_task(agent.run()) for agent in made.agents)

        tasks: list[asyncio.Task[None]] = []
        loop.run(begin(), _WITHIN_S)
        yield made


def _members(directory: Path, agents: int, identity: Identity) -> tuple[str, list[tuple[Member, Signed]]]:
    """The directory of a signer that has let in so many."""
    directory.mkdir(mode=0o700)
    key = Ed25519PrivateKey.generate()
    write_file(directory / KEY, key.private_bytes_raw(), 0o600)
    made = [_member(serial, identity) for serial in range(1, agents + 1)]
    signed = [(one, Signed.of(one, key)) for one in made]
    with contextlib.closing(Ledger(directory / LEDGER)) as ledger, ledger.transaction():
        for pair in signed:
            ledger.put_member(*pair)
    return public_text(key.public_key().public_bytes_raw()), signed


def _member(serial: int, identity: Identity) -> Member:
    is_relay = serial <= RELAYS
    return Member(
        serial=serial,
        name=f"n{serial}",
        role=Role.RELAY if is_relay else Role.SITE,
        identity=identity.public_identity,
        pairing=identity.public_pairing,
        prefixes=() if is_relay else (IPv4Network((0x0A000000 + (serial << 8), 24)),),
        not_after=int(time.time()) + _VALID_S,
    )


@contextlib.contextmanager
def _signing(state: Path) -> Iterator[None]:
    words = [sys.executable, "-m", "ryu_apps.overlay.signing", "--state", str(state)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool], otherwise: str, every_s: float = _POLL_S) -> None:
    wait_until(condition, _WITHIN_S, otherwise, every_s)
