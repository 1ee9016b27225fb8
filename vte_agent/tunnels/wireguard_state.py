"""A WireGuard device as it is, and what has to be said to it so that it becomes what it should be. No I/O.

Nothing here holds a private key, and a shared secret only as a digest: these values end up in logs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from vte_agent.protocol.base import public_bytes
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import PeerEnd, Reading, TunnelFailed

KEY_BYTES: Final = 32
KEEPALIVE_S: Final = 15
ANYTHING: Final = frozenset({"0.0.0.0/0", "::/0"})
"""What a peer may send and be sent: a device has one peer, and the kernel's routing decides what goes there."""

SESSION_S: Final = 180.0
"""How long after a handshake packets still pass (Reject-After-Time in WireGuard's protocol)."""


@dataclass(frozen=True)
class PeerState:
    """A peer of a device. handshake_at_s: seconds since 1970 by the node's clock; None before the first."""

    public_key: bytes
    secret_digest: bytes | None
    endpoint: Endpoint | None
    handshake_at_s: float | None
    received_bytes: int
    sent_bytes: int
    keepalive_s: int
    allowed: frozenset[str]


@dataclass(frozen=True)
class DeviceState:
    """A device. public_key None: it has no private key yet."""

    public_key: bytes | None
    port: int
    mark: int
    peers: tuple[PeerState, ...]

    def reading(self, now_s: float) -> Reading:
        """What the contract says of it."""
        if not self.peers:
            return Reading(None, 0, 0, None)
        peer = self.peers[0]
        age_s = None if peer.handshake_at_s is None else max(0.0, now_s - peer.handshake_at_s)
        return Reading(age_s, peer.received_bytes, peer.sent_bytes, peer.endpoint)


@dataclass(frozen=True)
class PeerChange:
    """What to say about the peer, after those that `remove` names are gone (it may be among them).

    secret None: it has it. endpoint None: none is known. allowed: ANYTHING has to be said. wake: the interval of
    keepalives goes from none to KEEPALIVE_S, which has a packet sent at once.
    """

    public_key: bytes
    secret: bytes | None = field(repr=False)
    endpoint: Endpoint | None
    remove: tuple[bytes, ...]
    allowed: bool
    wake: bool


def secret_digest(secret: bytes) -> bytes | None:
    """What a shared secret is known by; None for the one of zeros, which is none."""
    return hashlib.blake2s(secret).digest() if any(secret) else None


def new_private_key() -> bytes:
    """A key for X25519 (RFC 7748), from the kernel's random numbers."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_of(private_key: bytes) -> bytes:
    """The public half."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def check_peer(own: bytes | None, peer: PeerEnd) -> bytes:
    """The peer's public key, if a tunnel to it can be. Raises TunnelFailed, which names no secret."""
    if peer.public_key is None:
        raise TunnelFailed("the other end of a WireGuard tunnel needs a public key: wait until it has said it")
    if len(peer.secret) != KEY_BYTES or not any(peer.secret):
        raise TunnelFailed(f"the secret of a WireGuard tunnel is {KEY_BYTES} bytes that are not all zero")
    key = public_bytes(peer.public_key)
    if key == own:
        raise TunnelFailed("both ends of the tunnel have one public key: the other end is this one")
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise TunnelFailed("the other end's public key is weak (of low order): have it make another") from None
    return key


def calls_first(own: bytes, key: bytes) -> bool:
    """Whether it is this end that calls the other; only one of the two is to.

    Calls that cross are both lost: each end then answers, forgets its own call for that, and waits for the other.
    """
    return own < key


def change_for(state: DeviceState, peer: PeerEnd, key: bytes, *, now_s: float, again: bool) -> PeerChange:
    """What makes the device's only peer this one.

    Whoever is to be called is not told where the other end is: the call says so. It is told if none comes (again),
    and calls then.

    An endpoint that packets come from is said as it is: the other end may have roamed. To say it has the device
    forget from which address of ours it sent there, which may have become another. again: a peer without a
    handshake is made anew, since WireGuard calls once in five seconds at most and forgets that only so.
    """
    there = next((one for one in state.peers if one.public_key == key), None)
    others = tuple(one.public_key for one in state.peers if one.public_key != key)
    called = peer.endpoint if again or calls_first(state.public_key or b"", key) else None
    if there is None:
        return PeerChange(key, peer.secret, called, others, allowed=True, wake=True)
    if there.secret_digest != secret_digest(peer.secret) or (there.handshake_at_s is None and again):
        return PeerChange(key, peer.secret, called, (*others, key), allowed=True, wake=True)
    if there.handshake_at_s is None:
        return PeerChange(key, None, called, others, allowed=there.allowed != ANYTHING, wake=True)
    heard = now_s - there.handshake_at_s < SESSION_S
    endpoint = there.endpoint if heard else peer.endpoint
    wake = not heard or there.keepalive_s != KEEPALIVE_S
    return PeerChange(key, None, endpoint, others, allowed=there.allowed != ANYTHING, wake=wake)


def is_done(state: DeviceState, peer: PeerEnd, key: bytes) -> bool:
    """Whether the device has this peer, and no other."""
    if len(state.peers) != 1:
        return False
    there = state.peers[0]
    waits = there.handshake_at_s is None and not calls_first(state.public_key or b"", key)
    return (there.public_key, there.secret_digest, there.keepalive_s, there.allowed) == (
        key,
        secret_digest(peer.secret),
        KEEPALIVE_S,
        ANYTHING,
    ) and (waits or peer.endpoint is None or there.endpoint is not None)
