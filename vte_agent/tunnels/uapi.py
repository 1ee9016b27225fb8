"""WireGuard's cross-platform configuration protocol (www.wireguard.com/xplatform): text to and from its socket.

Pure functions. An answer to `get` has the private key and the shared secret in clear: what leaves this module is
the public key and a digest, and no error shows what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from pydantic import ValidationError

from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.wireguard_state import (
    ANYTHING,
    KEEPALIVE_S,
    KEY_BYTES,
    DeviceState,
    PeerChange,
    PeerState,
    public_of,
    secret_digest,
)

GET = b"get=1\n\n"
MOST_BYTES = 1 << 20
"""Longer than any answer about a device with one peer, or hundreds."""

_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_ENDPOINT = re.compile(r"(?:\[([0-9A-Za-z:.%_-]+)\]|([0-9.]+)):([0-9]{1,5})")
_NUMBER = re.compile(r"[0-9]{1,20}")
_ERRNO = re.compile(r"-?[0-9]{1,9}")
_NANOSECONDS = 1e-9
_PREFIXES_KEPT = 64
"""Each peer of each device has the same ones."""

_PEER_KEYS = frozenset(
    {
        "preshared_key",
        "protocol_version",
        "endpoint",
        "last_handshake_time_sec",
        "last_handshake_time_nsec",
        "tx_bytes",
        "rx_bytes",
        "persistent_keepalive_interval",
        "allowed_ip",
    }
)


class BadAnswer(ValueError):
    """What came over the socket is no answer in this protocol; the message never shows what it was."""


def set_own(private_key: bytes | None, mark: int, port: int = 0) -> bytes:
    """The request that gives a device its private key (None: it keeps the one it has), firewall mark and port.

    port 0: it keeps what it has, or takes any when it is up.
    """
    if not 0 <= mark < 1 << 32:
        raise ValueError("a firewall mark has 32 bits")
    lines = [f"fwmark={mark}", *([f"listen_port={port}"] if port else [])]
    if private_key is not None:
        lines.append(f"private_key={_hex(private_key)}")
    return _request(lines)


def set_peer(change: PeerChange) -> bytes:
    """The request that carries a change out. It is not atomic: read the device again."""
    lines = []
    for key in change.remove:
        lines += [f"public_key={_hex(key)}", "remove=true"]
    lines.append(f"public_key={_hex(change.public_key)}")
    if change.secret is not None:
        lines.append(f"preshared_key={_hex(change.secret)}")
    if change.endpoint is not None:
        lines.append(f"endpoint={_endpoint_text(change.endpoint)}")
    if change.allowed:
        lines += ["replace_allowed_ips=true", *(f"allowed_ip={prefix}" for prefix in sorted(ANYTHING))]
    if change.wake:
        lines += ["persistent_keepalive_interval=0", f"persistent_keepalive_interval={KEEPALIVE_S}"]
    return _request(lines)


def is_whole(answer: bytes | bytearray) -> bool:
    """Whether an answer has come to its end. Raises BadAnswer when it has become too long to be one."""
    if len(answer) > MOST_BYTES:
        raise BadAnswer(f"an answer is longer than {MOST_BYTES} bytes")
    return answer.endswith(b"\n\n")


def set_errno(answer: bytes) -> int:
    """What a set came to: 0, or a negative number of errno. Raises BadAnswer."""
    pairs = list(_pairs(answer))
    if len(pairs) != 1 or pairs[0][0] != "errno":
        raise BadAnswer("the answer to a set is not one errno")
    return _errno(pairs[0][1])


def device_state(answer: bytes) -> DeviceState:
    """The device that an answer to `get` tells of. Raises BadAnswer."""
    device: dict[str, str] = {}
    peers: list[_Peer] = []
    pairs = list(_pairs(answer))
    if not pairs or pairs[-1][0] != "errno":
        raise BadAnswer("an answer does not end with its errno")
    if code := _errno(pairs.pop()[1]):
        raise BadAnswer(f"the device answers with errno {code}")
    for key, value in pairs:
        if key == "public_key":
            peers.append(_Peer(_key(value)))
        elif peers:
            peers[-1].take(key, value)
        elif key in device or key not in {"private_key", "listen_port", "fwmark"}:
            raise BadAnswer("a line about the device is there twice, or of no kind that is known")
        else:
            device[key] = value
    if len({peer.public_key for peer in peers}) != len(peers):
        raise BadAnswer("a peer is there twice")
    private_key = device.get("private_key")
    return DeviceState(
        public_key=None if private_key is None else public_of(_key(private_key)),
        port=_number(device.get("listen_port", "0"), 0xFFFF),
        mark=_number(device.get("fwmark", "0"), 0xFFFFFFFF),
        peers=tuple(peer.state() for peer in peers),
    )


@dataclass
class _Peer:
    public_key: bytes
    lines: dict[str, str] = field(default_factory=dict, repr=False)
    allowed: set[str] = field(default_factory=set)

    def take(self, key: str, value: str) -> None:
        if key == "allowed_ip":
            self.allowed.add(_prefix(value))
        elif key not in _PEER_KEYS or key in self.lines:
            raise BadAnswer("a line about a peer is there twice, or of no kind that is known")
        else:
            self.lines[key] = value

    def state(self) -> PeerState:
        if self.lines.get("protocol_version", "1") != "1":
            raise BadAnswer("a peer speaks another version of the protocol")
        secret, endpoint = self.lines.get("preshared_key"), self.lines.get("endpoint")
        handshake_at_s = (
            self._count("last_handshake_time_sec") + self._count("last_handshake_time_nsec") * _NANOSECONDS
        )
        return PeerState(
            public_key=self.public_key,
            secret_digest=None if secret is None else secret_digest(_key(secret)),
            endpoint=None if endpoint is None else _endpoint(endpoint),
            handshake_at_s=handshake_at_s or None,
            received_bytes=self._count("rx_bytes"),
            sent_bytes=self._count("tx_bytes"),
            keepalive_s=_number(self.lines.get("persistent_keepalive_interval", "0"), 0xFFFF),
            allowed=frozenset(self.allowed),
        )

    def _count(self, key: str) -> int:
        return _number(self.lines.get(key, "0"), (1 << 63) - 1)


def _request(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in ("set=1", *lines, "")).encode("ascii")


def _hex(key: bytes) -> str:
    if len(key) != KEY_BYTES or not any(key):
        raise ValueError(f"a key is {KEY_BYTES} bytes that are not all zero")
    return key.hex()


def _pairs(answer: bytes) -> Iterator[tuple[str, str]]:
    try:
        text = answer.decode("ascii")
    except UnicodeDecodeError:
        # From None, here and below: what Python says shows its input.
        raise BadAnswer("an answer is not ASCII") from None
    if not text.endswith("\n\n"):
        raise BadAnswer("an answer is cut off")
    for line in text[:-2].split("\n"):
        key, separator, value = line.partition("=")
        if not separator or not key:
            raise BadAnswer("a line has no key and value")
        yield key, value


def _key(value: str) -> bytes:
    if not _HEX_KEY.fullmatch(value):
        raise BadAnswer("a key is not 64 hexadecimal digits")
    return bytes.fromhex(value)


def _number(value: str, most: int) -> int:
    if not _NUMBER.fullmatch(value) or int(value) > most:
        raise BadAnswer(f"a number is none, or greater than {most}")
    return int(value)


def _errno(value: str) -> int:
    if not _ERRNO.fullmatch(value):
        raise BadAnswer("an errno is no number")
    return int(value)


@lru_cache(_PREFIXES_KEPT)
def _prefix(value: str) -> str:
    try:
        return str(ip_network(value, strict=True))
    except ValueError:
        raise BadAnswer("an allowed_ip is no prefix") from None


def _endpoint(value: str) -> Endpoint:
    match = _ENDPOINT.fullmatch(value)
    if match is None:
        raise BadAnswer("an endpoint is not address:port")
    try:
        address = ip_address(match[1] or match[2])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return Endpoint(address=address, port=int(match[3]))
    except (ValueError, ValidationError):
        raise BadAnswer("an endpoint is not address:port") from None


def _endpoint_text(endpoint: Endpoint) -> str:
    address = f"[{endpoint.address}]" if endpoint.address.version == 6 else str(endpoint.address)
    return f"{address}:{endpoint.port}"
