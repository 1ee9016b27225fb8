"""A gate with a signer in a process of its own, and agents that call it over real TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect

from benchmarks.meshing.loop import Loop
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.gate import Gate
from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import ControllerCard, MakeToken
from ryu_apps.overlay.signing.watching import RollWatch
from tests.system.waiting import wait_until
from tests.unit.trust_world import Heard, Site, public, wanted_for
from vte_agent import membership as members
from vte_agent.channel import ChannelState
from vte_agent.enrolling import enroll
from vte_agent.keeping import Keeping
from vte_agent.protocol.channel import SERVER_NAME
from vte_agent.protocol.enrollment import Token
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import Signed

STATE_KEY = Ed25519PrivateKey.generate()


@dataclass
class World:
    directory: Path
    loop: Loop
    authority: Authority
    gate: Gate
    heard: Heard
    signer: Path
    watch: RollWatch
    sites: list[Site] = field(default_factory=list)

    @property
    def operator(self) -> SignerClient:
        return SignerClient(self.signer / "operator.sock")

    @property
    def controller(self) -> SignerClient:
        return SignerClient(self.signer / "controller.sock")

    def token(self, **wish: Any) -> Token:
        return Token.read(self.operator.make_token(MakeToken(**wish)).token)

    def enroll(self, name: str, token: Token | None = None) -> Path:
        directory = self.directory / f"{name}-{len(list(self.directory.iterdir()))}"
        self.loop.run(enroll(token or self.token(), name, Keeping(directory)))
        return directory

    def join(self, name: str) -> Site:
        """A site that was let in and whose channel is open."""
        site = Site.of(self.enroll(name), self.loop)
        self.sites.append(site)
        wait_until(lambda: site.believer.own.serial in self.heard.hellos, 10, lambda: site.states)
        wait_until(lambda: site.channel.state is ChannelState.CONNECTED, 10, lambda: site.states)
        return site

    def member(self, serial: int) -> Signed:
        return next(
            one
            for one in self.controller.members()
            if base64.b64decode(one.payload).startswith(b'{"serial":%d,' % serial)
        )

    def want(self, site: Site, generation: int = 1, *peers: Signed) -> Signed:
        serial = site.believer.own.serial
        wanted = wanted_for(serial, self.controller.roll().roll, STATE_KEY, generation, peers=peers)
        self.gate.send_wanted(serial, lambda: wanted)
        return wanted


@contextlib.contextmanager
def signer_process(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = directory.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ryu_apps.overlay.signing", "--state", directory], stderr=file
        )
    try:
        ready = SignerClient(directory / "controller.sock")
        wait_until(lambda: answers(ready), 15, log.read_text)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
        assert not list(directory.glob("*.sock"))


def answers(client: SignerClient) -> bool:
    with contextlib.suppress(SignerGone):
        client.roll()
        return True
    return False


@contextlib.contextmanager
def gate_world(directory: Path) -> Iterator[World]:
    """All of it, in a directory; nobody tries too often."""
    signer = directory / "signer"
    with contextlib.ExitStack() as stack:
        stack.enter_context(signer_process(signer))
        client = SignerClient(signer / "controller.sock")
        state = directory / "controller"
        state.mkdir()
        authority = Authority(state)
        heard = Heard()
        gate = Gate(
            authority,
            client.roll().policy_key,
            client.admit,
            heard.listener(),
            member_of=lambda serial: member_of(client, serial),
        )
        gate.start("127.0.0.1", 0)
        stack.callback(gate.stop)
        loop = Loop()
        stack.callback(loop.close)
        watch = RollWatch(client, lambda now: gate.publish_roll(now.roll))
        watch.start()
        stack.callback(watch.stop)
        world = World(directory, loop, authority, gate, heard, signer, watch)
        world.operator.trust(
            ControllerCard(
                state_key=public(STATE_KEY),
                authority_sha256=authority.sha256,
                addresses=(f"127.0.0.1:{gate.port}",),
            )
        )
        gate._letting_in._tries._burst = 10_000.0
        yield world


def member_of(client: SignerClient, serial: int) -> Member | None:
    listed = (Member.model_validate_json(base64.b64decode(one.payload)) for one in client.members())
    return next((one for one in listed if one.serial == serial), None)


def context_of(directory: Path) -> ssl.SSLContext:
    keeping = Keeping(directory)
    membership = members.load(keeping)
    assert membership is not None
    return members.own_context(membership, keeping)


async def say(port: int, context: ssl.SSLContext, *texts: str | bytes, answers: int = 1) -> list[str | bytes]:
    """Say something to the gate; gives what it answers."""
    async with connect(
        f"wss://127.0.0.1:{port}/", ssl=context, server_hostname=SERVER_NAME, proxy=None, compression=None
    ) as channel:
        for text in texts:
            await channel.send(text)
        return [await asyncio.wait_for(channel.recv(), 5) for _ in range(answers)]


def identity_serial(directory: Path) -> int:
    membership = members.load(Keeping(directory))
    assert membership is not None
    return membership.open().serial


def stranger(world: World) -> ssl.SSLContext:
    return members.client_context(world.authority.pem)
