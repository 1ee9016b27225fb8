"""Which part of which virtual network a side of a shared segment is."""

from __future__ import annotations

from dataclasses import replace

from stitching.intents.document import EndBy, Part
from stitching.intents.resolving import Resolved, resolve
from stitching.intents.world import World
from stitching.policy.faults import Refused
from stitching.segment import Side
from stitching.vnet import UnknownHost


def side_of(part: Part, world: World) -> tuple[Side, Resolved]:
    """The side, and who is on it now. Raises Refused where it is of no network, or of several."""
    end = resolve(part.end, world, "between")
    if end.by is EndBy.VNET:
        side = Side(end.name, _hosts(part, end, world), part.subnets)
        known = world.network.hosts
        macs = tuple(
            mac for mac in end.macs
            if mac in side.hosts or (mac in known and side.takes(known[mac], world.directory))
        )  # fmt: skip
        return side, replace(end, macs=macs if side.hosts or side.subnets else end.macs)
    if not end.macs:
        raise Refused("between", f"{end} has no hosts", "add one, or name a virtual network")
    if len(end.vnets) > 1:
        reason = f"{end} has hosts of {' and '.join(map(repr, sorted(end.vnets)))}"
        raise Refused("between", f"{reason}, and a side is of one network", "say {vnet: NAME, hosts: [...]}")
    (vnet,) = end.vnets
    return Side(vnet, tuple(sorted(end.macs))), end


def _hosts(part: Part, end: Resolved, world: World) -> tuple[str, ...]:
    macs = set()
    for name in part.hosts:
        try:
            mac = world.directory.find(name, world.hosts).mac
        except UnknownHost:
            mac = ""
        if mac not in end.macs:
            raise Refused("hosts", f"{end} has no host {name!r}", f"name a host of {end.name!r}, or put it there")
        macs.add(mac)
    return tuple(sorted(macs))
