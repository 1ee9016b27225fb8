"""BFD sessions of a lab's links, as the switch daemon says (its database is a second behind)."""

from __future__ import annotations

import re

from mininet_topos.lab import Lab
from mininet_topos.ovs import run, vsctl

_PORT = re.compile(r"^---- (\S+) ----$", re.MULTILINE)


def all_up(lab: Lab, interval_ms: int) -> bool:
    """Whether there is a session at both ends of every link, up and at that interval; raises OvsError.

    A session that has just come up goes on at a packet a second until both ends have agreed on less.
    """
    parts = _PORT.split(run(["ovs-appctl", "bfd/show"]))
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    ours = {port for name in lab.topology.node_names for port in vsctl("list-ports", lab.bridge(name)).split()}
    words = (
        *(f"{end} Session State: up" for end in ("Local", "Remote")),
        *(f"{way} Interval: Approx {interval_ms}ms" for way in ("RX", "TX")),
    )
    up = [all(word in text for word in words) for port, text in shown.items() if port in ours]
    return all(up) and len(up) == 2 * len(lab.topology.links)
