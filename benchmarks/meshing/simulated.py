"""Agents without a node: a real channel, real signatures, and tunnels that are up once both ends are known."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from ryu_apps.overlay.authority import Authority
from vte_agent import membership as members
from vte_agent.agent import REPORT_EVERY_S
from vte_agent.channel import Channel, Listener
from vte_agent.identity import Identity, csr_of, tls_key
from vte_agent.keeping import Keeping
from vte_agent.membership import Membership
from vte_agent.protocol.base import PublicKey, public_text
from vte_agent.protocol.has import Has, Quality, RouteReport, TunnelReport, TunnelState, Uplink
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Wanted, WantedTunnel

_PORT = 20_000
_QUALITY = Quality(rtt_ms=10.0, jitter_ms=0.5, loss_out=0.0, loss_in=0.0)


def let_in(
    directory: Path, authority: Authority, address: str, policy_key: PublicKey, member: Member, signed: Signed
) -> tuple[Membership, Keeping]:
    """What a node has on its disk once it was let in."""
    key, keeping = tls_key(), Keeping(directory / f"agent{member.serial}")
    certificate = authority.sign_client(csr_of(key), member.serial, member.name)
    # Not by keeping.write(), which waits for the disk each time.
    keeping.path(members.CERTIFICATE).write_bytes(members.bundle(key, certificate, authority.pem))
    keeping.path(members.CERTIFICATE).chmod(0o600)
    membership = Membership(controllers=(address,), authority=authority.pem, policy_key=policy_key, member=signed)
    return membership, keeping


@dataclass(frozen=True)
class News:
    """Something came to an agent (time.time()): a roll, or a wanted state; and when that was carried out."""

    serial: int
    came_s: float
    done_s: float
    what: Roll | Wanted


class SimulatedAgent:
    """One of many in a process. All methods are called on the loop's thread."""

    def __init__(
        self, member: Member, identity: Identity, kept: tuple[Membership, Keeping], tell: Callable[[News], None]
    ) -> None:
        self.serial = member.serial
        self._identity = identity
        self._policy_key = kept[0].policy_key
        self._tell = tell
        self._roll: Roll | None = None
        self._generation = 0
        self._ends: dict[str, Signed] = {}
        self._tunnels: tuple[TunnelReport, ...] = ()
        self._routes: tuple[RouteReport, ...] = ()
        self.address = IPv4Address(0xC6120000 + member.serial)
        listener = Listener(on_roll=self._on_roll, on_wanted=self._on_wanted)
        self.channel = Channel(kept[0], identity, kept[1], listener)

    async def run(self) -> None:
        """Until it is cancelled; says how things are as often as an agent does, and not when all others do."""
        self._say()
        channel = asyncio.create_task(self.channel.run())
        try:
            await asyncio.sleep(random.uniform(0, REPORT_EVERY_S))
            while True:
                await asyncio.sleep(REPORT_EVERY_S)
                self._say()
        finally:
            channel.cancel()

    def move_to(self, address: IPv4Address) -> None:
        """Its uplink has another address from now on."""
        self.address = address
        self._say()

    def _on_roll(self, signed: Signed) -> None:
        came_s = time.time()
        roll = signed.open(Roll, [self._policy_key])
        if self._roll is None or roll.epoch > self._roll.epoch:
            self._roll = roll
            self._tell(News(self.serial, came_s, time.time(), roll))

    def _on_wanted(self, signed: Signed) -> None:
        came_s = time.time()
        if self._roll is None:
            return
        wanted = signed.open(Wanted, self._roll.controllers)
        if wanted.generation <= self._generation:
            return
        self._generation = wanted.generation
        before = {one.name: one for one in self._tunnels}
        self._tunnels = tuple(self._tunnel(one, before.get(one.name)) for one in wanted.tunnels)
        self._routes = tuple(
            RouteReport(prefixes=one.prefixes, class_name=one.class_name, tunnel=one.tunnels[0], why="well")
            for one in wanted.routes
        )
        self._say()
        self._tell(News(self.serial, came_s, time.time(), wanted))

    def _tunnel(self, wanted: WantedTunnel, before: TunnelReport | None) -> TunnelReport:
        state = TunnelState.UP if wanted.peer_key is not None else TunnelState.MAKING
        if before is not None:
            return before if before.state is state else before.model_copy(update={"state": state})
        # Nothing is encrypted with it: the tunnel's name is as good as random numbers.
        key = public_text(f"{wanted.name:<32.32}".encode())
        return TunnelReport(
            name=wanted.name,
            state=state,
            key=self._identity.sign_tunnel_key(self.serial, wanted.name, key),
            port=_PORT,
            quality=_QUALITY,
        )

    def _say(self) -> None:
        self.channel.say_has(
            Has(
                generation=self._generation,
                transports=(Transport.WIREGUARD,),
                uplinks=(Uplink(name="up0", address=self.address),),
                tunnels=self._tunnels,
                routes=self._routes,
            )
        )
