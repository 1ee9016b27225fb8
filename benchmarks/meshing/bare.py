"""A WireGuard tunnel made by hand: two wireguard-go, keys said over their sockets, an address and a route."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.world import SOCKETS
from mininet_topos.waiting import wait_until
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import uapi
from vte_agent.tunnels.wireguard_state import PeerChange, new_private_key

DEVICE = "bare"

_WITHIN_S = 10.0
_KEY_BYTES = 32


@contextmanager
def bare_tunnel(ends: Sequence[tuple[Enclosure, str, str]], mtu: int) -> Iterator[None]:
    """For both ends: where, its outer address, and the prefix behind it. The MTU is that of the device."""
    secret = secrets.token_bytes(_KEY_BYTES)
    for at, _, _ in ends:
        at.start(["wireguard-go", "-f", DEVICE])
        path = _sockets(at) / f"{DEVICE}.sock"
        wait_until(lambda path=path: _answers(path), _WITHIN_S, lambda: "wireguard-go does not answer")  # type: ignore[misc]
        at.run(["ip", "link", "set", DEVICE, "mtu", str(mtu), "up"])
        _ask(path, uapi.set_own(new_private_key(), 0))
    paths = [_sockets(at) / f"{DEVICE}.sock" for at, _, _ in ends]
    states = [uapi.device_state(_ask(path, uapi.GET)) for path in paths]
    for (at, _, _), path, (_, address, prefix), far in zip(
        ends, paths, reversed(ends), reversed(states), strict=True
    ):
        assert far.public_key is not None
        endpoint = Endpoint.model_validate({"address": address, "port": far.port})
        _ask(path, uapi.set_peer(PeerChange(far.public_key, secret, endpoint, (), allowed=True, wake=True)))
        at.run(["ip", "route", "add", prefix, "dev", DEVICE])
    wait_until(
        lambda: all(shaken_at_s(at) for at, _, _ in ends), _WITHIN_S, lambda: "the tunnel has had no handshake"
    )
    yield


def shaken_at_s(at: Enclosure) -> list[float]:
    """When each wireguard-go of a place has had its last handshake (since 1970), where it has had one."""
    found = []
    for path in _sockets(at).glob("*.sock"):
        try:
            peers = uapi.device_state(_ask(path, uapi.GET)).peers
        except ConnectionRefusedError:
            # Its socket is there a moment before it listens.
            continue
        found += [peer.handshake_at_s for peer in peers if peer.handshake_at_s is not None]
    return found


def _sockets(at: Enclosure) -> Path:
    # As they are seen from outside: the place has a file system of its own there.
    return Path(f"/proc/{at.pid}/root{SOCKETS}")


def _answers(path: Path) -> bool:
    try:
        return bool(_ask(path, uapi.GET))
    except OSError:
        return False


def _ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_WITHIN_S)
        link.connect(str(path))
        link.sendall(request)
        answer = bytearray()
        while not uapi.is_whole(answer):
            answer += link.recv(65_536)
        return bytes(answer)
