"""The sites and relays of an overlay, and what they have: prefixes, uplinks, labels, load."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
Pair = tuple[int, int]
"""Serials of two sites, the lower one first."""


class SitesRefused(ValueError):
    """The sites cannot be in one overlay together; the message names them and says what to change."""


class Role(StrEnum):
    """A site has prefixes behind it; a relay only passes on what others send each other."""

    SITE = "site"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Uplink:
    """A way out of a site. `price` is of one gigabyte, in whatever money; capacity None: nobody has said.

    `callable` False: it is behind a NAT, so others cannot call it and it has to call them.
    """

    name: str
    address: Address
    capacity_mbps: float | None = None
    price: float = 0.0
    metered: bool = False
    callable: bool = True

    def __post_init__(self) -> None:
        if self.capacity_mbps is not None and not 0 < self.capacity_mbps < math.inf:
            raise SitesRefused(f"uplink {self.name}: capacity_mbps is {self.capacity_mbps}; it must be above 0")
        if not 0 <= self.price < math.inf:
            raise SitesRefused(f"uplink {self.name}: price is {self.price}; it must be 0 or more")


@dataclass(frozen=True, slots=True)
class Bridge:
    """An Open vSwitch bridge of a site, kept by the same controller as the others."""

    name: str
    dpid: int


@dataclass(frozen=True, slots=True)
class Site:
    """A member of the overlay.

    `transports` are those its host can do, in the order in which it likes them. `bridge` is to be joined to those
    of others; None: it has none.
    """

    serial: int
    name: str
    role: Role = Role.SITE
    prefixes: tuple[Prefix, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    critical: bool = False
    uplinks: tuple[Uplink, ...] = ()
    transports: tuple[str, ...] = ("wireguard",)
    bridge: Bridge | None = None

    def uplink(self, name: str) -> Uplink | None:
        """The uplink of this name."""
        return next((uplink for uplink in self.uplinks if uplink.name == name), None)


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """How busy the machine of a site is: shares from 0 to 1."""

    cpu: float = 0.0
    memory: float = 0.0

    @property
    def worst(self) -> float:
        """The share of what is scarcest."""
        return max(self.cpu, self.memory)


def pair_of(one: int, other: int) -> Pair:
    """Two serials as a pair."""
    return (one, other) if one < other else (other, one)


def checked(sites: Iterable[Site], overlay_range: Prefix | None = None) -> Mapping[int, Site]:
    """The sites by serial. Raises SitesRefused for what two of them, or the overlay's own range, both claim."""
    listed = tuple(sites)
    by_serial: dict[int, Site] = {}
    by_name: dict[str, Site] = {}
    for site in listed:
        if site.serial in by_serial:
            other = by_serial[site.serial].name
            raise SitesRefused(f"{other} and {site.name} both have serial {site.serial}; enroll one of them again")
        if site.name in by_name:
            raise SitesRefused(f"two sites are called {site.name}; rename the one with serial {site.serial}")
        if len({uplink.name for uplink in site.uplinks}) < len(site.uplinks):
            raise SitesRefused(f"{site.name} has two uplinks of one name; give each its own")
        if site.role is Role.RELAY and site.prefixes:
            raise SitesRefused(f"{site.name} is a relay and has prefixes; a relay has none, enroll it as a site")
        by_serial[site.serial] = by_name[site.name] = site
    claims = [(prefix, site.name) for site in listed for prefix in site.prefixes]
    if overlay_range is not None:
        claims.append((overlay_range, "the overlay itself (for its tunnels)"))
    clash = overlap(claims)
    if clash is not None:
        (wide, whose), (narrow, others) = clash
        raise SitesRefused(
            f"{wide} of {whose} overlaps {narrow} of {others}; renumber one, or keep them in segments apart"
        )
    return by_serial


def overlap(claims: Sequence[tuple[Prefix, str]]) -> tuple[tuple[Prefix, str], tuple[Prefix, str]] | None:
    """Two claims that have an address in common, None where none have. Prefixes are nested or apart."""
    inside: tuple[Prefix, str] | None = None
    for claim in sorted(claims, key=lambda one: _place(one[0])):
        if inside is not None and covers(inside[0], claim[0]):
            return inside, claim
        inside = claim
    return None


def covers(wide: Prefix, narrow: Prefix) -> bool:
    """Whether all addresses of one prefix are in another."""
    return (
        wide.version == narrow.version
        and wide.prefixlen <= narrow.prefixlen
        and int(narrow.network_address) >> (narrow.max_prefixlen - wide.prefixlen)
        == int(wide.network_address) >> (wide.max_prefixlen - wide.prefixlen)
    )


def _place(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
