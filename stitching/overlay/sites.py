"""The sites and relays of an overlay, and what they have: prefixes, uplinks, labels, load."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
Pair = tuple[int, int]
"""Serials of two sites, the lower one first."""


class SitesRefused(ValueError):
    """There can be no such site; the message says what to change."""


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


PLENTY_OF_MEMORY = 0.8
"""A machine that uses less than this share of it is not short of memory."""


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """How busy the machine of a site is: shares from 0 to 1; of memory, what no program can have any more."""

    cpu: float = 0.0
    memory: float = 0.0

    @property
    def worst(self) -> float:
        """The share of what is scarcest. Memory is in use for good, and scarce only when little is left."""
        return max(self.cpu, (self.memory - PLENTY_OF_MEMORY) / (1 - PLENTY_OF_MEMORY))


def pair_of(one: int, other: int) -> Pair:
    """Two serials as a pair."""
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True)
class Together:
    """Sites that are in one overlay, by serial, and what is wrong with each of the others."""

    sites: Mapping[int, Site]
    refused: tuple[str, ...] = ()


def together(
    sites: Iterable[Site], overlay_range: Prefix | None = None, before: Mapping[int, Site] | None = None
) -> Together:
    """Those that go together: no name, serial or address is of two of them, or of the overlay itself.

    Where two do not, the one that was in `before` stays, or the one that has been a member for longer. One that is
    no good as it is now goes on as it was before. Nobody else is touched.
    """
    known = before or {}
    kept: dict[int, Site] = {}
    refused: list[str] = []
    names: dict[str, Site] = {}
    claims = Claims()
    if overlay_range is not None:
        claims.add(overlay_range, "the overlay itself (for its tunnels)")
    for now in sorted(sites, key=lambda one: (one.serial not in known, one.serial)):
        site, why = now, _why_not(now, kept, names, claims)
        if why:
            refused.append(why)
            site = known.get(now.serial, now)
            if site == now or _why_not(site, kept, names, claims):
                continue
        kept[site.serial] = names[site.name] = site
        for prefix in site.prefixes:
            claims.add(prefix, site.name)
    return Together(MappingProxyType(kept), tuple(refused))


def _why_not(site: Site, kept: Mapping[int, Site], names: Mapping[str, Site], claims: Claims) -> str:
    """Why a site cannot be with the others; "" where it can."""
    if site.serial in kept:
        other = kept[site.serial].name
        return f"{other} and {site.name} both have serial {site.serial}; enroll one of them again"
    if site.name in names:
        return f"two sites are called {site.name}; rename the one with serial {site.serial}"
    if len({uplink.name for uplink in site.uplinks}) < len(site.uplinks):
        return f"{site.name} has two uplinks of one name; give each its own"
    if site.role is Role.RELAY and site.prefixes:
        return f"{site.name} is a relay and has prefixes; a relay has none, enroll it as a site"
    own = Claims()
    for prefix in site.prefixes:
        clash = claims.of(prefix) or own.of(prefix)
        if clash is not None:
            theirs, whose = clash
            return (
                f"{prefix} of {site.name} overlaps {theirs} of {whose}, so {site.name} is left out; renumber one"
            )
        own.add(prefix, "itself")
    return ""


class Claims:
    """Prefixes and whose they are; no two of them have an address in common."""

    def __init__(self) -> None:
        self._claims: list[tuple[Prefix, str]] = []

    def of(self, prefix: Prefix) -> tuple[Prefix, str] | None:
        """A claim with an address of a prefix, if there is one. Prefixes are nested or apart."""
        place = bisect_right(self._claims, _place(prefix), key=_place_of)
        near = self._claims[max(0, place - 1) : place + 1]
        return next((one for one in near if covers(one[0], prefix) or covers(prefix, one[0])), None)

    def add(self, prefix: Prefix, whose: str) -> None:
        """One more, which has none in common with those there are."""
        insort(self._claims, (prefix, whose), key=_place_of)


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


def _place_of(claim: tuple[Prefix, str]) -> tuple[int, int, int]:
    return _place(claim[0])
