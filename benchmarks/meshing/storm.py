"""Agents that all lose their controller at once, and come back when there is another one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from benchmarks.meshing.loop import Loop
from benchmarks.meshing.simulated import let_in
from benchmarks.support.figure import MeasurementFailed
from ryu_apps.overlay.authority import Authority
from vte_agent.channel import Channel, ChannelState, Listener
from vte_agent.identity import Identity
from vte_agent.keeping import Keeping
from vte_agent.membership import Membership
from vte_agent.protocol.base import public_text
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import Wanted

_VALID_S = 3600
_POLL_S = 0.02

Site = tuple[Membership, Identity, Keeping]


@dataclass(frozen=True)
class Storm:
    """took_s: until each agent had its wanted state, and again after the restart; the rest is the worse gate's."""

    first_s: float
    back_s: float
    peak_mb: float
    cpu_s: float


class GateProcess:
    """A gate that can be killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.expect("listens")

    def expect(self, word: str) -> None:
        """Wait for a line. Raises MeasurementFailed."""
        said = self._line()
        if said != word:
            raise MeasurementFailed(f"the gate said {said!r} where {word!r} was expected")

    def costs(self) -> tuple[float, float]:
        """Peak memory (MB) and CPU time (s)."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = json.loads(self._line())
        return said["peak_mb"], said["cpu_s"]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def storm(directory: Path, agents: int, within_s: float) -> Storm:
    """Have so many agents connect, kill the gate, start another one. Raises MeasurementFailed."""
    policy = Ed25519PrivateKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    sites = _sites(directory, agents, f"127.0.0.1:{port}", policy)
    told = [0] * agents
    channels: list[Channel] = []
    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        channels.extend(_channel(place, site, told, channels) for place, site in enumerate(sites))
        tasks.extend(asyncio.create_task(channel.run()) for channel in channels)

    with contextlib.closing(Loop()) as loop:
        with _gate(directory, port, policy) as gate:
            begun_s = time.monotonic()
            loop.run(begin())
            gate.expect("all")
            _wait(lambda: min(told) >= 1, begun_s + within_s)
            first_s, first = time.monotonic() - begun_s, gate.costs()
        _wait(
            lambda: not any(one.state is ChannelState.CONNECTED for one in channels), time.monotonic() + within_s
        )
        with _gate(directory, port, policy) as gate:
            begun_s = time.monotonic()
            gate.expect("all")
            _wait(lambda: min(told) >= 2, begun_s + within_s)
            back_s, back = time.monotonic() - begun_s, gate.costs()
    return Storm(first_s, back_s, max(first[0], back[0]), max(first[1], back[1]))


def _channel(place: int, site: Site, told: list[int], channels: list[Channel]) -> Channel:
    def on_wanted(_: Signed) -> None:
        told[place] += 1
        channels[place].say_has(Has(generation=told[place]))

    return Channel(*site, Listener(on_roll=lambda _: None, on_wanted=on_wanted))


@contextlib.contextmanager
def _gate(directory: Path, port: int, policy: Ed25519PrivateKey) -> Iterator[GateProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.meshing.gate_process", directory, str(port), _public(policy)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield GateProcess(process)
    finally:
        process.kill()
        process.communicate()


def _sites(directory: Path, agents: int, address: str, policy: Ed25519PrivateKey) -> list[Site]:
    """Sites as they are after they were let in; all with the same keys, which nothing here looks at."""
    authority = Authority(directory)
    own = Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
    state_key = Ed25519PrivateKey.generate()
    now_s = int(time.time())
    unsigned = Roll(epoch=1, issued_at=now_s, not_after=now_s + _VALID_S, controllers=(_public(state_key),))
    roll = Signed.of(unsigned, policy)
    (directory / "roll").write_text(roll.model_dump_json())
    sites = []
    for serial in range(1, agents + 1):
        member = Member(
            serial=serial,
            name=f"n{serial}",
            identity=own.public_identity,
            pairing=own.public_pairing,
            not_after=now_s + _VALID_S,
        )
        wanted = Signed.of(Wanted(generation=1, serial=serial, roll=roll), state_key)
        (directory / f"{serial}.wanted").write_text(wanted.model_dump_json())
        membership, keeping = let_in(
            directory, authority, address, _public(policy), member, Signed.of(member, policy)
        )
        sites.append((membership, own, keeping))
    return sites


def _public(key: Ed25519PrivateKey) -> str:
    return public_text(key.public_key().public_bytes_raw())


def _wait(condition: Callable[[], bool], until_s: float) -> None:
    while not condition():
        if time.monotonic() > until_s:
            raise MeasurementFailed("some agents are not back in time")
        time.sleep(_POLL_S)
