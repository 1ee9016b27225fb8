"""The internet between sites: each uplink of a site is an emulated line to one router that knows them all."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Literal, Self

from pyroute2 import NFCTSocket

from mininet_topos import devices
from mininet_topos.emulator import Emulator, LinkSpec
from mininet_topos.handles import LabError, LinkHandle
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.ovs import OvsError, run
from mininet_topos.topology import LabLink
from mininet_topos.wiring import free_prefix

RANGE = IPv4Network("198.18.0.0/15")
"""For tests of networks (RFC 2544): it is nobody's."""

ROUTER = "internet"
_TABLE = "inet trouble"
_ROAM_PORTS = 1000

Direction = Literal["out", "in"]


@dataclass(frozen=True)
class Uplink:
    """One way out of a node. behind_nat: others see the router's address in place of its own."""

    name: str
    rate_mbps: float = 50.0
    delay_ms: float = 5.0
    loss: float = 0.0
    queue_ms: float = 50.0
    mtu: int = 1500
    behind_nat: bool = False


@dataclass(frozen=True)
class Place:
    """A site or a compute instance, by its uplinks."""

    name: str
    uplinks: tuple[Uplink, ...] = (Uplink("up0"), Uplink("up1"))


@dataclass(frozen=True)
class Line:
    """The line of an uplink: `near` is its device at the place, `far` the one at the router."""

    place: Place
    uplink: Uplink
    near: str
    far: str
    address: IPv4Address
    router: IPv4Address


@dataclass
class Underlay:
    """Runs while its `with` block does; nothing of it is left when that ends, however it ends.

    Every uplink is a device of its name inside its place, with an address of its own; the default route leaves by
    the first one. Raises LabError.
    """

    places: Sequence[Place]
    seed: int = 0
    prefix: str = ""
    """What the names of its devices begin with until they are inside their places."""
    _cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _lines: dict[tuple[str, str], tuple[int, Line]] = field(default_factory=dict)
    _at: dict[str, Enclosure] = field(default_factory=dict)
    _troubles: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _roamed: int = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self.prefix = free_prefix(devices.names(), random.SystemRandom())
        lines = list(_lines(self.places, self.prefix))
        for name in (ROUTER, *(place.name for place in self.places)):
            self._at[name] = enclosure = Enclosure(name)
            self._cleanup.callback(enclosure.close)
        self._lay(lines)
        for number, line in enumerate(lines):
            self._lines[line.place.name, line.uplink.name] = number, line
            self._plug_in(line)
        self._at[ROUTER].run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        for place in self.places:
            first = self._lines[place.name, place.uplinks[0].name][1]
            self._at[place.name].run(["ip", "route", "add", "default", "via", str(first.router)])

    def _lay(self, lines: Sequence[Line]) -> None:
        """Make the devices at both ends of all lines, outside of their places."""
        self._emulator = Emulator([_spec(line) for line in lines], self.seed)
        # Before the enclosures: the devices go with the process that carries their frames.
        self._cleanup.callback(self._emulator.close)

    def _plug_in(self, line: Line) -> None:
        router, place = self._at[ROUTER], self._at[line.place.name]
        ends = ((line.near, place, line.uplink.name, line.address), (line.far, router, line.far, line.router))
        for device, enclosure, name, address in ends:
            _outside(["ip", "link", "set", device, "netns", str(enclosure.pid)])
            enclosure.run(
                ["ip", "-batch", "-"],
                stdin=f"link set {device} name {name}\n"
                f"addr add {address}/31 dev {name}\n"
                # A lab's switch ports answer no ARP; this is a host's.
                f"link set {name} arp on mtu {line.uplink.mtu} up\n",
            )
        # What leaves from an uplink's address leaves by it, also where the default route goes another way.
        table = str(1000 + line.place.uplinks.index(line.uplink))
        place.run(
            ["ip", "-batch", "-"],
            stdin=f"route add default via {line.router} dev {line.uplink.name} table {table}\n"
            f"rule add from {line.address} lookup {table} pref 30000\n",
        )
        if line.uplink.behind_nat:
            self._trouble(line, "nat", "masquerade")

    def at(self, place: str) -> Enclosure:
        """Where a place's programs run, or the router's. Raises LabError."""
        if place not in self._at:
            raise LabError(f"no place {place!r} in the lab; it has {', '.join(self._at)}")
        return self._at[place]

    def address(self, place: str, uplink: str) -> IPv4Address:
        """The address of an uplink. Raises LabError."""
        return self._line(place, uplink)[1].address

    def link(self, place: str, uplink: str) -> LinkHandle:
        """The line of an uplink: cut it, restore it, change its figures, read its counters (a is the place)."""
        number, line = self._line(place, uplink)
        spec = line.uplink
        return LinkHandle(
            LabLink(place, ROUTER, spec.rate_mbps, spec.delay_ms, spec.loss), number, False, self._emulator
        )

    def lose(self, place: str, uplink: str, direction: Direction, share: float) -> None:
        """Lose a share of the packets of one direction alone; 0 ends it."""
        _, line = self._line(place, uplink)
        chosen = "" if share >= 1 else f"numgen random mod 10000 < {round(share * 10_000)} "
        way = "iifname" if direction == "out" else "oifname"
        self._trouble(line, direction, f"{way} {line.far} {chosen}drop" if share > 0 else None)

    def swallow(self, place: str, uplink: str, above_bytes: int | None) -> None:
        """Lose packets that are longer than this without a word, either way; None ends it."""
        _, line = self._line(place, uplink)
        for way in ("iifname", "oifname"):
            rule = f"{way} {line.far} meta length > {above_bytes} drop" if above_bytes is not None else None
            self._trouble(line, f"long {way}", rule)

    def part(self, place: str, other: str, *, apart: bool = True) -> None:
        """Lose all packets between two places, that reach everybody else; or no longer."""
        far = ", ".join(f"{line.address}" for _, line in self._lines.values() if line.place.name == other)
        for _, line in list(self._lines.values()):
            if line.place.name == place:
                ways = (
                    f"ip saddr {line.address} ip daddr {{ {far} }} drop",
                    (f"ip saddr {{ {far} }} ip daddr {line.address} drop"),
                )
                self._trouble(line, f"apart from {other}", "; ".join(ways) if apart else None)

    def roam(self, place: str, uplink: str) -> None:
        """Have the NAT of an uplink forget: all that leaves by it comes from another address and other ports."""
        _, line = self._line(place, uplink)
        if not line.uplink.behind_nat:
            raise LabError(f"{uplink} of {place} is not behind a NAT")
        self._roamed += 1
        ports = f"{_ROAM_PORTS * (self._roamed + 20)}-{_ROAM_PORTS * (self._roamed + 21) - 1}"
        seen = f"meta l4proto {{ tcp, udp }} snat ip to {line.router}:{ports}"
        self._trouble(line, "nat", f"{seen}; ip saddr {line.address} masquerade")
        # What is on its way goes on as it was until this is gone.
        with network_of(self._at[ROUTER].pid), NFCTSocket() as connections:
            connections.flush()

    def _line(self, place: str, uplink: str) -> tuple[int, Line]:
        if (place, uplink) not in self._lines:
            raise LabError(f"no uplink {uplink!r} of {place!r} in the lab")
        return self._lines[place, uplink]

    def _trouble(self, line: Line, kind: str, rule: str | None) -> None:
        """Make one kind of trouble on a line, or end it: all there is goes into the router in one step."""
        key = line.place.name, line.uplink.name, kind
        if rule is None:
            self._troubles.pop(key, None)
        else:
            self._troubles[key] = rule
        forward = [text for (_, _, what), text in self._troubles.items() if what != "nat"]
        masks = [
            f"ip saddr {self._lines[place, uplink][1].address} {how}"
            for (place, uplink, what), how in self._troubles.items()
            if what == "nat"
        ]
        text = f"""
table {_TABLE} {{}}
delete table {_TABLE}
table {_TABLE} {{
 chain passing {{ type filter hook forward priority 0; {"; ".join(forward)}{";" if forward else ""} }}
 chain leaving {{ type nat hook postrouting priority 100; {"; ".join(masks)}{";" if masks else ""} }}
}}
"""
        self._at[ROUTER].run(["nft", "-f", "-"], stdin=text)

    @property
    def addresses(self) -> Mapping[tuple[str, str], IPv4Address]:
        """The address of every uplink, by place and name."""
        return {key: line.address for key, (_, line) in self._lines.items()}


def _lines(places: Sequence[Place], prefix: str) -> Iterator[Line]:
    pairs = RANGE.subnets(new_prefix=31)
    number = 0
    for place in places:
        if not place.uplinks:
            raise LabError(f"{place.name} has no uplink")
        for uplink in place.uplinks:
            router, address = next(pairs)
            yield Line(place, uplink, f"{prefix}n{number}", f"{prefix}f{number}", address, router)
            number += 1


def _spec(line: Line) -> LinkSpec:
    uplink = line.uplink
    return LinkSpec(line.near, line.far, uplink.rate_mbps, uplink.delay_ms, uplink.loss, uplink.queue_ms)


def _outside(argv: list[str]) -> None:
    try:
        run(argv)
    except OvsError as error:
        raise LabError(str(error)) from error
