"""What links between bridges carry: as much as the narrowest uplink on the way that their packets take now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stitching.network import PortId
from stitching.overlay.explaining import NextLeg, way_of
from stitching.overlay.links import LinkBook, anchor
from stitching.overlay.sites import Site
from stitching.overlay.tunnels import Line, TunnelBook

Carried = Mapping[tuple[PortId, PortId], tuple[float | None, float | None]]
"""Mbit/s from the first port to the second and back; None: no way is known, or of no uplink on it what it has."""


def carried(book: LinkBook, tunnels: TunnelBook, sites: Mapping[int, Site], next_leg: NextLeg) -> Carried:
    """What each link that is plugged in at both ends carries, by the ports there.

    Uplinks of which nobody has said anything count as wide enough. Headers of tunnel and link are not taken off.
    """
    lines = {tunnel.name: tunnel.line for tunnel in tunnels.tunnels()} if book.plugged else {}

    def narrowest(source: int, target: int) -> float | None:
        address = anchor(tunnels, book.places[target])
        legs = way_of(source, target, address, None, next_leg) or ()
        way = zip((source, *(leg.to for leg in legs)), legs, strict=False)
        passed = (mbps for at, leg in way for mbps in _uplinks(lines[leg.tunnel], at, leg.to, sites))
        return min(passed, default=None)

    return {
        link.ports: (narrowest(link.a, link.b), narrowest(link.b, link.a))
        for link in book.links
        if link.ports is not None
    }


def _uplinks(line: Line, here: int, there: int, sites: Mapping[int, Site]) -> Iterator[float]:
    """What is known of the uplinks at both ends of a tunnel."""
    for serial in (here, there):
        uplink = sites[serial].uplink(line.uplink_at(serial)) if serial in sites else None
        if uplink is not None and uplink.capacity_mbps is not None:
            yield uplink.capacity_mbps
