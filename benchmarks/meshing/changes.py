"""Packets lost while tunnels follow each other between two sites, whose ends are told a second apart."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.meshing.silence import more, steady, taken
from mininet_topos.overlay.two_nodes import Kind, TwoNodes, two_nodes
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.waiting import wait_until

APART_S = 1.0

_UPLINKS = (Uplink("up0", 100.0, 3.0), Uplink("up1", 100.0, 5.0))
_WITHIN_S = 60.0
_SWALLOWED = (1400, 1360, 1320, 1280)

CHANGES: Mapping[str, Kind] = {
    "new_keys": ("up0", "wireguard"),
    "other_transport": ("up0", "ipsec"),
    "other_uplink": ("up1", "wireguard"),
    "other_mtu": ("up0", "wireguard", 1300),
}
"""What follows a WireGuard tunnel over up0, of the MTU that probing finds, in each."""


def lost(change: str, runs: int) -> list[float]:
    """Packets of a 5 ms flow lost in each of so many changes there and back. Raises LabError."""
    kinds: tuple[Kind, Kind] = ("up0", "wireguard"), CHANGES[change]
    with tempfile.TemporaryDirectory() as directory, two_nodes(_UPLINKS, Path(directory) / "log") as nodes:
        nodes.want({"v0": kinds[0]})
        nodes.taken("v0")
        found: list[float] = []
        with steady(nodes) as receiver:
            for number in range(runs):
                receiver.forget()
                _follow(nodes, f"v{number}", f"v{number + 1}", kinds[(number + 1) % 2])
                more(receiver)
                found.append(receiver.lost())
        return found


def lost_while_mtu_changes() -> list[float]:
    """Short packets lost each time that the path begins to swallow long ones, until that is found out.

    The search and the change of the device are to do them no harm. What is too long is lost until then.
    """
    with tempfile.TemporaryDirectory() as directory, two_nodes(_UPLINKS, Path(directory) / "log") as nodes:
        nodes.want({"v0": ("up0", "wireguard")})
        nodes.taken("v0")
        nodes.wait(lambda one: one["mtu"] is not None)
        found: list[float] = []
        with steady(nodes) as receiver:
            for above in _SWALLOWED:
                receiver.forget()
                nodes.underlay.swallow("ber", "up0", above)
                _wait_fits(nodes, above)
                more(receiver)
                found.append(receiver.lost())
        return found


def _wait_fits(nodes: TwoNodes, above: int) -> None:
    nodes.wait(lambda one: one["mtu"] is not None and one["mtu"] < above, _WITHIN_S)


def _follow(nodes: TwoNodes, before: str, after: str, kind: Kind) -> None:
    """Make before break."""
    nodes.want({before: nodes.tunnels[before], after: kind})
    nodes.prefer(after, before, apart_s=APART_S)
    wait_until(lambda: taken(nodes) == {after}, _WITHIN_S, lambda: taken(nodes))
    nodes.want({after: kind})
