"""What sites had when last heard, from the plans they were sent: for a controller that has just started."""

from __future__ import annotations

from stitching.overlay.mesh_rules import ENCRYPTED
from stitching.overlay.rounds import Overlay
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Bridge, Uplink


def recalled_uplinks(overlay: Overlay, serial: int) -> tuple[Uplink, ...]:
    """The uplinks by which a site has tunnels; one that nobody was ever told an address of cannot be called."""
    own = _last_plan(overlay, serial)
    if own is None:
        return ()
    addresses = {end.uplink: end.local for end in own.tunnels}
    told = {
        end.remote_uplink
        for peer in {end.peer for end in own.tunnels}
        if (plan := _last_plan(overlay, peer)) is not None
        for end in plan.tunnels
        if end.peer == serial and end.remote is not None
    }
    return tuple(Uplink(name, address, callable=name in told) for name, address in sorted(addresses.items()))


def recalled_transports(overlay: Overlay, serial: int) -> tuple[str, ...]:
    """The transports of a site's tunnels, then the others: nobody has heard that it does not have them.

    Without these, who wants another transport from now on would take the tunnels of a silent site away.
    """
    own = _last_plan(overlay, serial)
    had = sorted({end.transport for end in own.tunnels}) if own is not None else []
    return (*had, *sorted(ENCRYPTED - set(had))) if had else ()


def recalled_bridge(overlay: Overlay, serial: int) -> Bridge | None:
    """The bridge of a site that is joined to others."""
    for link in overlay.links.links:
        if serial in link.pair:
            return link.bridge_a if serial == link.a else link.bridge_b
    return None


def _last_plan(overlay: Overlay, serial: int) -> SitePlan | None:
    sent = overlay.in_force.get(serial)
    return sent[-1][1] if sent else None
