"""The tunnels of an overlay: which there can be, what they are called, and in which part of its life each is.

A line is what tunnels follow each other on: two sites, an uplink at each, a transport. A tunnel is one version of
it and never changes: another key, MTU or probing is another version beside it that takes over (replacing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType

from stitching.overlay.sites import Address, Pair, Prefix

DEFAULT_RANGE: Prefix = IPv4Network("100.96.0.0/12")

_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
"""RFC 1918 and RFC 6598: what is sent there is sent to nobody on the internet."""

_NARROWEST = 22

_ANCHORS = 16
"""Each how manieth address is an anchor's."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """Two sites (a < b, by serial), the uplink at each, and the transport."""

    a: int
    uplink_a: str
    b: int
    uplink_b: str
    transport: str

    def __post_init__(self) -> None:
        if self.a >= self.b:
            raise ValueError(f"a line goes from the lower serial to the higher one, not from {self.a} to {self.b}")

    @property
    def pair(self) -> Pair:
        """The two sites."""
        return self.a, self.b

    def other(self, serial: int) -> int:
        """The far end, seen from one."""
        return self.b if serial == self.a else self.a

    def uplink_at(self, serial: int) -> str:
        """The uplink at one end."""
        return self.uplink_a if serial == self.a else self.uplink_b


@lru_cache(maxsize=65_536)
def line_name(line: Line) -> str:
    """The same for the same line at all times; at most 52 characters, so that a version fits behind it."""
    text = "\0".join((line.uplink_a, line.uplink_b, line.transport))
    return f"t{line.a}-{line.b}-{blake2s(text.encode(), digest_size=5).hexdigest()}"


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """What a version is made with; any other value is another version. `mtu` None: what probing finds.

    `epoch` counts orders to make the keys anew.
    """

    mtu: int | None = None
    interval_ms: int = 50
    multiplier: int = 3
    epoch: int = 0


DEFAULT_SPEC = TunnelSpec()


class Phase(StrEnum):
    """COMING: wanted beside what there is. ACTIVE: carries. LEAVING: traffic moves off it.

    GONE: wanted no more, and remembered until neither end can have it.
    """

    COMING = "coming"
    ACTIVE = "active"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True)
class Tunnel:
    """A version of a line. `slot` is its place in the range of addresses; `generation` the one of its phase."""

    line: Line
    number: int
    spec: TunnelSpec
    slot: int
    made_at_s: float
    phase: Phase
    since_s: float
    generation: int
    why: str = ""

    @cached_property
    def name(self) -> str:
        """As both ends and the messages call it."""
        return f"{line_name(self.line)}-v{self.number}"

    @property
    def wanted(self) -> bool:
        """Whether the two ends should have it."""
        return self.phase is not Phase.GONE


@dataclass(frozen=True, slots=True)
class LineState:
    """The versions of a line, oldest first; `number` of the last one made, and when another may be tried."""

    number: int = 0
    tunnels: tuple[Tunnel, ...] = ()
    failures: int = 0
    retry_at_s: float = 0.0

    def of(self, phase: Phase) -> Tunnel | None:
        """The newest version in a phase."""
        return next((tunnel for tunnel in reversed(self.tunnels) if tunnel.phase is phase), None)


@dataclass(frozen=True, slots=True)
class TunnelBook:
    """All lines with their versions: to be stored, or addresses could be given twice after a restart."""

    lines: Mapping[Line, LineState] = field(default_factory=lambda: MappingProxyType({}))
    next_slot: int = 0
    overlay_range: Prefix = DEFAULT_RANGE

    def tunnels(self) -> tuple[Tunnel, ...]:
        """All that the sites should have."""
        return tuple(one for state in self.lines.values() for one in state.tunnels if one.wanted)


def addresses(overlay_range: Prefix, slot: int) -> tuple[Address, Address]:
    """The two addresses of a slot (a /31 of RFC 3021, a /127 of RFC 6164): of end a, and of end b."""
    base = overlay_range.network_address
    return base + 2 * slot, base + (2 * slot + 1)


def check_range(overlay_range: Prefix) -> Prefix:
    """A range that tunnels may have their addresses in. Raises ValueError, which says what to give.

    Of IPv4: a device that is too narrow for IPv6 (1,280 bytes, RFC 8200) has these all the same.
    """
    whole = isinstance(overlay_range, IPv4Network) and any(overlay_range.subnet_of(one) for one in _PRIVATE)
    if not whole:
        places = ", ".join(map(str, _PRIVATE))
        raise ValueError(f"{overlay_range} is not for private use; give a part of one of {places}")
    if overlay_range.prefixlen > _NARROWEST:
        raise ValueError(f"{overlay_range} has too little room for tunnels; give a /{_NARROWEST} or a wider one")
    return overlay_range


def slots(overlay_range: IPv4Network | IPv6Network) -> int:
    """How many tunnels a range has room for: all of it but its last part, which is for anchors (links.py)."""
    return (overlay_range.num_addresses - overlay_range.num_addresses // _ANCHORS) // 2


def anchor_places(overlay_range: IPv4Network | IPv6Network) -> int:
    """How many anchors a range has room for. They are counted from its end, without the last address."""
    return max(0, overlay_range.num_addresses // _ANCHORS - 1)


def anchor_slot(overlay_range: IPv4Network | IPv6Network, place: int) -> int:
    """The slot that an anchor would lie in: ranges that were in use before there were anchors have some given."""
    return (overlay_range.num_addresses - 2 - place) // 2
