"""From the links that are there to those that are wanted: which steps make it so, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vte_agent.protocol.wanted import WantedLink


@dataclass(frozen=True)
class Place:
    """A bridge, and where the database is that it is in."""

    bridge: str
    database: str


@dataclass(frozen=True)
class LinkDevice:
    """A VXLAN device of ours. name: of its link; place: what it is to be a port of.

    whole: it is up, and the machine has its local address.
    """

    device: str
    name: str
    vni: int
    local: IPv4Address | IPv6Address | None
    remote: IPv4Address | IPv6Address | None
    place: Place | None
    whole: bool = True


@dataclass(frozen=True)
class Plug:
    """A port of a bridge that is of a link of ours. number: as OpenFlow calls it, None while it has none."""

    device: str
    name: str
    number: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Make:
    """Make a link's device whole, or as much of it as is missing."""

    link: WantedLink
    device: str


@dataclass(frozen=True)
class PlugIn:
    """Make a device a port of the bridge, or once more where that went wrong."""

    link: WantedLink
    device: str


@dataclass(frozen=True)
class PullOut:
    """Take a port away from the bridge it is in."""

    device: str
    name: str
    place: Place


@dataclass(frozen=True)
class Remove:
    """Take a device away, with its address where no other has it."""

    device: LinkDevice


Step = Make | PlugIn | PullOut | Remove


def steps(
    wanted: Sequence[WantedLink],
    place: Place | None,
    devices: Mapping[str, LinkDevice],
    plugs: Mapping[str, Plug],
    name_of: Callable[[WantedLink], str],
) -> tuple[Step, ...]:
    """What is to be done. `plugs` are the ports of ours in the database of `place`, by device.

    What is wanted comes before what is not goes; a device that is not what it should be goes first, as the new one
    has its name. Without a bridge nothing is wanted.
    """
    goals = {name_of(link): link for link in wanted} if place is not None else {}
    making: list[Step] = []
    going: list[Step] = []
    for device, link in goals.items():
        there = devices.get(device)
        plug = plugs.get(device)
        if there is not None and not _is_same(there, link, place):
            making += _away(there, plug, place)
            there = plug = None
        if there is None or not there.whole:
            making.append(Make(link, device))
        if plug is None or plug.error or plug.name != link.name:
            making.append(PlugIn(link, device))
    for device, there in devices.items():
        if device not in goals:
            going += _away(there, plugs.get(device), place)
    for device, plug in plugs.items():
        if device not in goals and device not in devices and place is not None:
            going.append(PullOut(device, plug.name, place))
    return (*making, *going)


def _away(there: LinkDevice, plug: Plug | None, place: Place | None) -> list[Step]:
    """Out of the bridge first: a port without a device is an error that Open vSwitch goes on trying."""
    elsewhere = there.place is not None and there.place != place
    steps: list[Step] = []
    if there.place is not None and (elsewhere or plug is not None):
        steps.append(PullOut(there.device, there.name, there.place))
    return [*steps, Remove(there)]


def _is_same(there: LinkDevice, link: WantedLink, place: Place | None) -> bool:
    ends = there.name, there.vni, there.local, there.remote
    return ends == (link.name, link.vni, link.local, link.remote) and there.place == place
