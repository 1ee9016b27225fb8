"""Our flow entries on a lab's bridges, as ovs-ofctl shows them: the word of the switch, not the controller's."""

from __future__ import annotations

import re

from mininet_topos.lab import Lab
from mininet_topos.ovs import run
from ryu_apps import nameplate
from stitching.cookie import OURS, OWNER_MASK

_AGE = re.compile(r"duration=([\d.]+)s, ")
_COUNTERS = re.compile(r"n_packets=\d+, n_bytes=\d+, ")

FlowAges = dict[tuple[str, str], float]
"""Seconds since each entry was written, by (bridge, entry)."""


def flow_ages(lab: Lab) -> FlowAges:
    """The age of every entry of ours but the nameplate, which is another one in each run; raises OvsError."""
    ages: FlowAges = {}
    for node in lab.topology.nodes:
        bridge = lab.bridge(node.name)
        words = ["ovs-ofctl", "-O", "OpenFlow13", "--no-names", "dump-flows", bridge]
        for line in run([*words, f"cookie={OURS:#x}/{OWNER_MASK:#x}"]).splitlines():
            if (age := _AGE.search(line)) is not None and f"table={nameplate.TABLE}," not in line:
                ages[bridge, _COUNTERS.sub("", _AGE.sub("", line)).strip()] = float(age[1])
    return ages
