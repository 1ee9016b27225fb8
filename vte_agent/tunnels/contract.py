"""The contract between the agent and a transport. A tunnel is a network device that leads to one other end.

All calls block, for milliseconds; the agent makes them from one thread. Each may be repeated after it failed
half-way and then ends where it would have ended, so that a crash between any two leaves nothing that the next run
cannot take over (`found`) or delete.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint

Address = IPv4Address | IPv6Address


class TunnelFailed(RuntimeError):
    """A tunnel cannot be made, read or deleted: the message says why and what to do. No key is ever in it."""


@dataclass(frozen=True)
class TunnelSpec:
    """What one end needs to exist.

    device: the name of the network device, at most 15 characters, ours by its prefix. local: the uplink's address
    that outer packets leave from. address and peer_address: the two ends inside the tunnel. mark: the
    firewall mark of outer packets, by which an `ip rule` sends them out of that uplink; 0 is none.
    """

    name: str
    device: str
    local: Address
    address: Address
    peer_address: Address
    mtu: int
    mark: int = 0


@dataclass(frozen=True)
class LocalEnd:
    """What the other end has to be told: the public key (None where the transport has none) and the port."""

    port: int
    public_key: PublicKey | None


@dataclass(frozen=True)
class PeerEnd:
    """The other end. secret: 32 bytes that only the two ends know. endpoint None: it calls, wherever it is."""

    public_key: PublicKey | None
    secret: bytes
    endpoint: Endpoint | None

    def __repr__(self) -> str:
        """Without the secret: this ends up in logs."""
        return f"PeerEnd(public_key={self.public_key!r}, endpoint={self.endpoint!r})"


@dataclass(frozen=True)
class Reading:
    """A tunnel as its transport sees it. handshake_age_s: None before the first."""

    handshake_age_s: float | None
    received_bytes: int
    sent_bytes: int
    endpoint: Endpoint | None
    """Where the other end was last heard from: it may roam."""


class Tunnels(Protocol):
    """All tunnels of one transport on this node."""

    transport: Transport

    def missing(self) -> str:
        """Why this transport cannot be had on this node, and the remedy; "" where it can."""

    def carrier(self) -> str:
        """What carries its packets on this node, for people to read."""

    def found(self) -> Collection[str]:
        """The devices of ours that are there, also those an earlier run of the agent left."""

    def create(self, spec: TunnelSpec) -> LocalEnd:
        """Make this end, up and with its addresses, or take over the one there is.

        It has a key of its own: the one it had where that is kept, or a new one.

        One that is taken over keeps its MTU where that is smaller: longer packets may not get through.
        Raises TunnelFailed, with nothing left behind.
        """

    def connect(self, spec: TunnelSpec, peer: PeerEnd) -> None:
        """Say who the other end is; the tunnel then comes up by itself. Raises TunnelFailed."""

    def set_mtu(self, spec: TunnelSpec, mtu: int) -> None:
        """Change the device's MTU in place. Raises TunnelFailed."""

    def far_link(self, spec: TunnelSpec) -> bytes:
        """The link address of the other end; empty where the device has none, as with WireGuard."""

    def read(self) -> Mapping[str, Reading]:
        """All tunnels that are alive, by device; one whose process or device has gone is not among them.

        A tunnel may need to be read to come up: a few times a second while one has no handshake.
        """

    def delete(self, device: str) -> None:
        """Take a tunnel away with all that belongs to it; nothing happens where there is none."""

    def keep_only(self, devices: Collection[str]) -> None:
        """Forget the keys of all others: they are not made again."""

    def close(self) -> None:
        """Let go of sockets and files; tunnels stay, unless the transport runs them in processes of its own."""
