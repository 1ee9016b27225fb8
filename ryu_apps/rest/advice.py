"""What works less well than it could: stitches whose protection or rate needs the databases of their switches."""

from __future__ import annotations

from collections.abc import Iterable

from ryu_apps.events import OvsdbStatus
from stitching.network import node_name
from stitching.stitch import BandwidthRequest, Protection, Stitch

_NAMED = 5


def advice(stitches: Iterable[Stitch], status: OvsdbStatus) -> list[str]:
    """A line with the stitches, the switches and the remedy, where there is something to say."""
    without = {
        stitch.id: missing
        for stitch in stitches
        if _needs_ovsdb(stitch) and (missing := _lies_on(stitch) - status.switches.keys())
    }
    if not without:
        return []
    numbers = _some([str(number) for number in sorted(without)])
    switches = _some([node_name(dpid) for dpid in sorted(frozenset().union(*without.values()))])
    line = (
        f"no OVSDB is known of switches {switches}, where stitches {numbers} are protected or guaranteed a rate: "
        "links that die in silence are found late, and admission alone keeps the rate; tell where it is with "
        "--ovsdb, or lockstitch switch ovsdb DPID SERVER"
    )
    return [line]


def _needs_ovsdb(stitch: Stitch) -> bool:
    guarantee = isinstance(stitch.request, BandwidthRequest) and stitch.request.guarantee_mbps is not None
    return guarantee or stitch.request.protection is not Protection.NONE


def _lies_on(stitch: Stitch) -> frozenset[int]:
    """The switches that send its packets on to others."""
    path = stitch.path
    # A guarantee has no links for itself: those it lies on carry others too.
    return frozenset(key[0] for key in (*path.all_links, *path.links)) if path is not None else frozenset()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
