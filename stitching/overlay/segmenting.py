"""What each site lets through its tunnels, by the policy and the virtual networks that the fabric goes by.

A site sees addresses and no hosts: who sends and who receives is told by address alone. A host of a virtual
network that has no declared address is one of the subnet that it is in, or of the default network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network, summarize_address_range

from stitching.network import Host
from stitching.overlay.sites import Address, Prefix
from stitching.policy.document import BETWEEN, WITHIN, By
from stitching.policy.ruling import Pattern, Ruling
from stitching.policy.ruling import Standing as PolicyStanding
from stitching.vnet import Directory

FREE = (Pattern(WITHIN, True),)
NOTHING = (Pattern(BETWEEN, False),)
"""What there is between standings that no rule is about: of one virtual network, and of two."""


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses to which the same rules apply, either all of the site itself or all of others."""

    number: int
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """What the addresses of one block may send to those of another: the first pattern that matches decides."""

    source: int
    target: int
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True)
class SiteFilters:
    """All that a site's tunnels carry. No two blocks have an address in common; what no pair says is denied."""

    blocks: tuple[Block, ...]
    pairs: tuple[Between, ...]


class Segments:
    """What a ruling means for sites with these prefixes, by serial."""

    def __init__(self, ruling: Ruling, prefixes: Mapping[int, Collection[Prefix]]) -> None:
        self.ruling = ruling
        borders = _borders(ruling)
        self._held: dict[int, dict[PolicyStanding, tuple[Prefix, ...]]] = {
            serial: self._standings(own, borders) for serial, own in prefixes.items()
        }

    def of(self, serial: int, *, transit: bool) -> SiteFilters | None:
        """What a site shall carry; None: whatever comes, as nothing but the default is about its addresses.

        One that passes on (`transit`) also judges what others send each other.
        """
        own, others = self._held.get(serial, {}), self._without(serial)
        ways = [way for a in own for b in others for way in (((True, a), (False, b)), ((False, b), (True, a)))]
        if transit:
            ways += [((False, a), (False, b)) for a in others for b in others]
        said = {(one, other): self._carried(one[1], other[1]) for one, other in ways}
        if all(patterns == FREE for patterns in said.values()):
            return None
        said = {way: patterns for way, patterns in said.items() if patterns != NOTHING}
        met = {end for way in said for end in way}
        # Of others only those that the site has anything to do with: what changes for the rest is no news here.
        keys = [*((True, one) for one in own), *((False, one) for one in others if (False, one) in met)]
        number = {key: place for place, key in enumerate(keys)}
        return SiteFilters(
            tuple(Block(number[key], (own if key[0] else others)[key[1]]) for key in keys),
            tuple(Between(number[one], number[other], patterns) for (one, other), patterns in said.items()),
        )

    def _carried(self, source: PolicyStanding, target: PolicyStanding) -> tuple[Pattern, ...]:
        known = self._memo.get((source, target))
        if known is None:
            known = self._memo[source, target] = tuple(map(carried, self.ruling.patterns(source, target)))
        return known

    def _without(self, serial: int) -> dict[PolicyStanding, tuple[Prefix, ...]]:
        found: dict[PolicyStanding, list[Prefix]] = defaultdict(list)
        for other, held in self._held.items():
            if other != serial:
                for standing, prefixes in held.items():
                    found[standing] += prefixes
        return {standing: tuple(prefixes) for standing, prefixes in found.items()}

    def _standings(
        self, own: Collection[Prefix], borders: Mapping[int, Collection[int]]
    ) -> dict[PolicyStanding, tuple[Prefix, ...]]:
        found: dict[PolicyStanding, list[Prefix]] = defaultdict(list)
        for prefix in own:
            for standing, first, last in self._spans(prefix, borders[prefix.version]):
                found[standing] += summarize_address_range(first, last)
        return {standing: tuple(prefixes) for standing, prefixes in found.items()}

    def _spans(
        self, prefix: Prefix, borders: Collection[int]
    ) -> Iterator[tuple[PolicyStanding, Address, Address]]:
        """A prefix in parts of one standing each, as long as they can be."""
        start, end = int(prefix.network_address), int(prefix.broadcast_address) + 1
        starts = [start, *sorted(border for border in borders if start < border < end)]
        kind = type(prefix.network_address)
        standings = [self.ruling.standing(host_at(kind(one), self.ruling.directory)) for one in starts]
        kept = [place for place in range(len(starts)) if place == 0 or standings[place] != standings[place - 1]]
        for place, following in zip(kept, [*(starts[one] for one in kept[1:]), end], strict=True):
            yield standings[place], kind(starts[place]), kind(following - 1)

    @cached_property
    def _memo(self) -> dict[tuple[PolicyStanding, PolicyStanding], tuple[Pattern, ...]]:
        return {}


def host_at(address: Address, directory: Directory) -> Host:
    """Who has an address, as far as the address alone says."""
    text = str(address)
    member = directory.member(directory.declared_owner(text) or "")
    if member is not None:
        return Host(member.mac, 0, 0, frozenset(member.ips))
    # In place of a MAC, by which hosts are told apart.
    return Host(text, 0, 0, frozenset({text}))


def carried(pattern: Pattern) -> Pattern:
    """A pattern as tunnels carry it out: what may only go over switches of some zones may go over none of them.

    What has to be encrypted may: tunnels are.
    """
    if pattern.allowed and pattern.demands.zones is not None:
        return replace(pattern, allowed=False)
    return pattern


def _borders(ruling: Ruling) -> dict[int, set[int]]:
    """By version of IP, where other addresses begin: the first of what is named, and what comes after its last."""
    named = [subnet for vnet in ruling.directory.vnets.values() for subnet in vnet.subnets]
    named += [ip for vnet in ruling.directory.vnets.values() for member in vnet.members for ip in member.ips]
    for rule in ruling.rules:
        for selector in ruling.policy.expand((*rule.source, *rule.target)):
            if selector.by is By.SUBNET or (selector.by is By.HOST and _is_address(selector.value[0])):
                named.append(selector.value[0])
    found: dict[int, set[int]] = {4: set(), 6: set()}
    for prefix in map(ip_network, named):
        found[prefix.version] |= {int(prefix.network_address), int(prefix.broadcast_address) + 1}
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
