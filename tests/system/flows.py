"""The flow tables of a bridge, as Open vSwitch itself tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mininet_topos.ovs import run
from ryu_apps import nameplate
from stitching import cookie

_LINE = re.compile(
    r"cookie=(?P<cookie>0x[0-9a-f]+), duration=(?P<duration>[\d.]+)s, table=(?P<table>\d+), "
    r"n_packets=(?P<packets>\d+), n_bytes=\d+, (?P<match>\S*) ?actions=(?P<actions>\S+)"
)

FlowKey = tuple[str, int, str, str, int]
"""Where and what a rule is: bridge, table, match with priority, actions, cookie."""


@dataclass(frozen=True)
class Flow:
    """A rule on a bridge: how long it is there, unchanged, and how many packets it has met."""

    key: FlowKey
    duration_s: float
    packets: int

    @property
    def cookie(self) -> int:
        """Its cookie."""
        return self.key[4]


def flows(bridge: str, value: int = 0, mask: int = 0) -> list[Flow]:
    """The rules of a bridge whose cookie is `value` where `mask` has ones; all, without a mask.

    The nameplate is left out: no packet meets it, and it is another one in each run of a controller.
    """
    found = []
    text = run(["ovs-ofctl", "-O", "OpenFlow13", "dump-flows", bridge, f"cookie={value:#x}/{mask:#x}"])
    for line in text.splitlines():
        if "cookie=" not in line:
            continue
        match = _LINE.search(line)
        assert match is not None, line
        key = (bridge, int(match["table"]), match["match"], match["actions"], int(match["cookie"], 16))
        if int(match["table"]) == nameplate.TABLE:
            continue
        found.append(Flow(key, float(match["duration"]), int(match["packets"])))
    return found


def all_flows(bridges: Mapping[str, str]) -> dict[FlowKey, Flow]:
    """The rules of all bridges."""
    return {flow.key: flow for bridge in bridges.values() for flow in flows(bridge)}


def stitch_flows(bridge: str, stitch_id: int) -> list[Flow]:
    """The rules of one stitch on a bridge."""
    return flows(bridge, cookie.OURS | stitch_id, cookie.STITCH_MASK)


def bridges_of_stitch(bridges: Mapping[str, str], stitch_id: int) -> set[str]:
    """The routers that have rules of a stitch."""
    return {router for router, bridge in bridges.items() if stitch_flows(bridge, stitch_id)}


def stitches_with_flows(bridges: Mapping[str, str]) -> set[int]:
    """The numbers of all stitches that have rules anywhere."""
    ours = (flow for bridge in bridges.values() for flow in flows(bridge, cookie.OURS, cookie.OWNER_MASK))
    return {cookie.stitch_of(flow.cookie) for flow in ours} - {0}
