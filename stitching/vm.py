"""The stitch between two hosts: what is asked for, and the path that it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stitching.application import Application
from stitching.network import LinkKey, reverse
from stitching.terms import Terms


@dataclass(frozen=True, slots=True)
class VmRequest(Terms):
    """What somebody (a person over REST, or the trigger) wants: two hosts joined by a path of their own.

    bandwidth_mbps is promised from source to target, and from target to source too where both_ways is set.
    relieves is the link that a stitch of the trigger takes load from. Where there is an application, only its
    packets are carried.
    """

    KIND: ClassVar = "vm"

    source_mac: str
    target_mac: str
    bandwidth_mbps: float
    both_ways: bool = True
    relieves: LinkKey | None = None
    application: Application | None = None

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """The (source MAC, destination MAC) pairs whose packets the stitch carries."""
        there = (self.source_mac, self.target_mac)
        return (there, (self.target_mac, self.source_mac)) if self.both_ways else (there,)


@dataclass(frozen=True, slots=True)
class Hop:
    """One switch on a path: the packet comes in by in_port and leaves by out_port."""

    dpid: int
    in_port: int
    out_port: int


@dataclass(frozen=True, slots=True)
class StitchPath:
    """Both directions of a stitch across the fabric, edge port to edge port, over the same links.

    label is the VLAN id its packets carry on the way: no other path between these hosts has it, so that rules of
    two paths never meet the same packet. backup is the way to take when something on this one dies.
    """

    KIND: ClassVar = "path"

    hops: tuple[Hop, ...]
    links: tuple[LinkKey, ...]
    latency_ms: float | None
    label: int = 0
    backup: StitchPath | None = None

    @property
    def reversed(self) -> StitchPath:
        """The way back."""
        return StitchPath(
            tuple(Hop(hop.dpid, hop.out_port, hop.in_port) for hop in self.hops[::-1]),
            tuple(reverse(key) for key in self.links[::-1]),
            self.latency_ms,
            self.label,
            self.backup.reversed if self.backup is not None else None,
        )

    @property
    def all_links(self) -> tuple[LinkKey, ...]:
        """The links of it, then those of its backup."""
        return self.links if self.backup is None else (*self.links, *self.backup.links)

    @property
    def dpids(self) -> frozenset[int]:
        """The switches it needs, those of its backup among them."""
        backup = self.backup.hops if self.backup is not None else ()
        return frozenset(hop.dpid for hop in (*self.hops, *backup))
