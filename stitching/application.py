"""One application between two hosts: which of their packets are its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stitching.match import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, SCTP, TCP, UDP, L3Match

_FIELDS = ("ip_proto", "ip_dscp", "source_port", "target_port")

PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmpv6": ICMPV6}
"""IP protocols by name."""

WITH_PORTS = frozenset({TCP, UDP, SCTP})
"""Protocols that have ports."""


@dataclass(frozen=True, slots=True)
class Application:
    """Packets of one IP protocol, to or from one port, or of one DSCP; None is any.

    source_port is on the side of the stitch's source, target_port on the other; both need a protocol with ports.
    Raises ValueError where nothing is given, or ports of a protocol without any.
    """

    ip_proto: int | None = None
    source_port: int | None = None
    target_port: int | None = None
    ip_dscp: int | None = None

    def __post_init__(self) -> None:
        if not self.narrowness:
            raise ValueError("an application needs a protocol, a port or a DSCP to be told by")
        if (self.source_port, self.target_port) != (None, None) and self.ip_proto not in WITH_PORTS:
            raise ValueError("ports are of TCP, UDP or SCTP: name the protocol")

    @property
    def narrowness(self) -> int:
        """How many fields tell it: where a packet is of two applications, the narrower one has it."""
        return sum(getattr(self, name) is not None for name in _FIELDS)

    @property
    def back(self) -> Application:
        """The same seen from the other side."""
        return replace(self, source_port=self.target_port, target_port=self.source_port)

    def overlaps(self, other: Application) -> bool:
        """Whether a packet could be of both."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in _FIELDS)
        return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)

    def matches(self) -> tuple[tuple[int, L3Match], ...]:
        """The (eth_type, fields behind Ethernet) that find it: one for IPv4, one for IPv6."""
        l3 = L3Match(
            ip_dscp=self.ip_dscp, ip_proto=self.ip_proto, src_port=self.source_port, dst_port=self.target_port
        )
        return (ETH_IPV4, l3), (ETH_IPV6, l3)
