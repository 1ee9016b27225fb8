"""Who an end of an intent is: from a name to hosts."""

from __future__ import annotations

from dataclasses import dataclass

from stitching.intents.document import End, EndBy
from stitching.intents.world import World
from stitching.policy.faults import Refused
from stitching.vnet import DEFAULT_VNET, UnknownHost


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an end means: by HOST, VNET or GROUP, its hosts by MAC in order, and their virtual networks."""

    by: EndBy
    name: str
    macs: tuple[str, ...]
    vnets: frozenset[str]

    @property
    def selector(self) -> dict[str, str]:
        """The same for a rule of the policy; a host by MAC, whatever it is called later."""
        return {self.by.value: self.macs[0] if self.by is EndBy.HOST else self.name}

    def __str__(self) -> str:
        return f"{self.by} {self.name}"


def resolve(end: End, world: World, field: str) -> Resolved:
    """The hosts that an end means. Raises Refused where nobody, or more than one thing, has this name."""
    if end.by is not EndBy.NAME:
        found = _as(end.by, end.name, world)
        if found is None:
            raise Refused(field, f"there is no {end.by} {end.name!r}", _remedy(end.by, world))
        return found
    meanings = [
        one for by in (EndBy.HOST, EndBy.VNET, EndBy.GROUP) if (one := _as(by, end.name, world)) is not None
    ]
    if not meanings:
        reason = f"no host, virtual network or group is called {end.name!r}"
        raise Refused(field, reason, _remedy(EndBy.HOST, world))
    if len(meanings) > 1:
        said = " and ".join(f"a {one.by}" for one in meanings)
        raise Refused(field, f"{end.name!r} is {said}", f"say {{{meanings[0].by}: {end.name}}}, or the other")
    return meanings[0]


def _as(by: EndBy, name: str, world: World) -> Resolved | None:
    hosts = world.hosts
    if by is EndBy.HOST:
        try:
            host = world.directory.find(name, hosts)
        except UnknownHost:
            return None
        vnet = world.directory.vnet_of(host)
        return Resolved(by, world.directory.name_of(host), (host.mac,), frozenset({vnet}))
    if by is EndBy.VNET:
        if name != DEFAULT_VNET and name not in world.directory.vnets:
            return None
        return Resolved(by, name, world.members.get(name, ()), frozenset({name}))
    if name not in world.groups:
        return None
    macs = sorted(world.groups[name] & hosts.keys())
    return Resolved(by, name, tuple(macs), frozenset(world.directory.vnet_of(hosts[mac]) for mac in macs))


def _remedy(by: EndBy, world: World) -> str:
    if by is EndBy.GROUP:
        known = sorted(world.groups)
        where = "add it to the policy under groups"
    elif by is EndBy.VNET:
        known = sorted(world.directory.vnets)
        where = "make it with `lockstitch vnets put`"
    else:
        known = sorted(world.names.values())
        where = "let it send a packet, or name it in its virtual network"
    listed = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
    return f"{where}; known: {listed or 'none yet'}"
