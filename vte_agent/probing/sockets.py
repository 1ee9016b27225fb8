"""UDP sockets inside one tunnel, and what the kernel says about the packets that come in."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vte_agent.descriptors import A_TUNNEL
from vte_agent.marks import BYPASS
from vte_agent.protocol.wanted import MOST_MTU

LIVENESS_PORT = 7661
REFLECTOR_PORT = 7662
SENDER_PORT = 7663
MTU_PORT = 7664
"""Inside tunnels only: the sockets are bound to the tunnel's device."""

LONGEST = MOST_MTU
"""Of the packets that are received whole."""

Address = IPv4Address | IPv6Address

_SO_TIMESTAMPNS = 35
_IP_RECVTTL, _IP_FREEBIND, _IPV6_FREEBIND = 12, 15, 78
_TIMESPEC = struct.Struct("@qq")
_INT = struct.Struct("@i")
_TTL = 255
_CLASS_SELECTOR_6 = 0xC0
"""Network control: a full queue should not take a tunnel for dead."""

_RIGHTS = "May this process use raw sockets (CAP_NET_RAW, CAP_NET_ADMIN)?"


class ProbeFailed(RuntimeError):
    """A tunnel cannot be probed; the message says why and what to do."""


def cannot(do: str, error: OSError, remedy: str = _RIGHTS) -> str:
    """What goes wrong, and what to do."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = f"Each tunnel takes {A_TUNNEL} open files: allow more (LimitNOFILE=, ulimit -n)"
    return f"cannot {do}: {error.strerror}. {remedy}"


@dataclass(frozen=True)
class Received:
    """A datagram; when the kernel got it, by the wall clock (None: it does not say); its time to live."""

    data: bytes
    wall_s: float | None
    ttl: int


def open_socket(device: str, address: Address, peer: Address, port: int, peer_port: int) -> socket.socket:
    """A socket that only sends to and hears from one port at the other end of one tunnel.

    Raises ProbeFailed. Its packets are marked, so that no route for what the tunnel carries is theirs.
    """
    v4 = address.version == 4
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    try:
        made = socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise ProbeFailed(cannot(f"probe {peer} through {device}", error)) from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, BYPASS)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # An IPv6 address that is being checked for a twin is bound to all the same.
        made.setsockopt(level, _IP_FREEBIND if v4 else _IPV6_FREEBIND, 1)
        made.setsockopt(level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS, _TTL)
        made.setsockopt(level, _IP_RECVTTL if v4 else socket.IPV6_RECVHOPLIMIT, 1)
        made.setsockopt(level, socket.IP_TOS if v4 else socket.IPV6_TCLASS, _CLASS_SELECTOR_6)
        made.bind((str(address), port))
        made.connect((str(peer), peer_port))
    except OSError as error:
        made.close()
        remedy = f"Is the device up, with {address} on it? {_RIGHTS}"
        raise ProbeFailed(cannot(f"probe {peer} through {device}", error, remedy)) from error
    return made


def receive(source: socket.socket) -> Received | None:
    """The next datagram; None: there is none now."""
    try:
        data, ancillary, _, _ = source.recvmsg(LONGEST, 128)
    except OSError:
        # Nothing there; or word that the other end does not listen yet, which its silence says as well.
        return None
    wall_s, ttl = None, 0
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            wall_s = seconds + nanoseconds * 1e-9
        elif len(value) >= _INT.size:
            ttl = _INT.unpack_from(value)[0]
    return Received(data, wall_s, ttl)


def send(target: socket.socket, data: bytes) -> None:
    """Send, or not: what cannot be sent is missed at the other end."""
    with contextlib.suppress(OSError):
        target.send(data)
