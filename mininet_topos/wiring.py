"""Which device sits on which port of which bridge: all names of a lab, worked out before anything is made."""

from __future__ import annotations

import random
import string
from collections.abc import Collection
from dataclasses import dataclass

from mininet_topos.devices import NAME_MAX
from mininet_topos.topology import BadTopology, LabHost, LabLink, LabTopology

PREFIX_MAX = 4
_FIRST, _REST = string.ascii_lowercase, string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class FabricLink:
    """A link with the bridge port and device at each end."""

    link: LabLink
    a_dpid: int
    a_port: int
    a_device: str
    b_dpid: int
    b_port: int
    b_device: str


@dataclass(frozen=True)
class HostLink:
    """A host with the bridge port and device it hangs on."""

    host: LabHost
    port_no: int
    device: str


@dataclass(frozen=True)
class Wiring:
    """Bridges by node name, fabric links in topology order, host links in host order."""

    prefix: str
    bridges: dict[str, str]
    fabric: tuple[FabricLink, ...]
    hosts: tuple[HostLink, ...]


def check_prefix(prefix: str) -> str:
    """Return the prefix; raises ValueError unless it is 1 to 4 lower-case letters and digits, a letter first."""
    good = 1 <= len(prefix) <= PREFIX_MAX and prefix[0] in _FIRST and all(c in _REST for c in prefix)
    if not good:
        raise ValueError(
            f"prefix {prefix!r}: use 1 to {PREFIX_MAX} lower-case letters or digits, a letter first, "
            f"so that device names stay within {NAME_MAX} characters"
        )
    return prefix


def free_prefix(taken: Collection[str], rng: random.Random) -> str:
    """Draw a three-character prefix that no name in `taken` begins with."""
    while True:
        prefix = rng.choice(_FIRST) + "".join(rng.choices(_REST, k=2))
        if not any(name.startswith(prefix) for name in taken):
            return prefix


def wire(topology: LabTopology, prefix: str) -> Wiring:
    """Number the ports of every bridge from 1: first its hosts, then its links in topology order."""
    check_prefix(prefix)
    dpids = {node.name: node.dpid for node in topology.nodes}
    used = dict.fromkeys(dpids, 0)

    def next_port(node: str) -> tuple[int, str]:
        used[node] += 1
        device = f"{prefix}s{dpids[node]}-eth{used[node]}"
        if len(device) > NAME_MAX:
            raise BadTopology(
                f"node {node}: device name {device!r} is too long; use a shorter prefix or fewer ports"
            )
        return used[node], device

    hosts = tuple(HostLink(host, *next_port(host.node)) for host in topology.hosts)
    fabric = tuple(
        FabricLink(link, dpids[link.a], *next_port(link.a), dpids[link.b], *next_port(link.b))
        for link in topology.links
    )
    return Wiring(prefix, {name: f"{prefix}s{dpid}" for name, dpid in dpids.items()}, fabric, hosts)
