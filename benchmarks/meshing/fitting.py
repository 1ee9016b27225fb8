"""A megabyte across a VXLAN over each kind of tunnel, on underlays of several MTUs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mininet_topos.overlay.two_nodes import TwoNodes, a_megabyte_crosses, two_nodes
from mininet_topos.overlay.underlay import Uplink

MTUS = (1280, 1400, 1500, 9000)
TRANSPORTS = ("wireguard", "ipsec")

_VXLAN_BYTES = 50
_WITHIN_S = 60.0


def crossed() -> dict[str, bool]:
    """Whether it crosses, by transport and MTU of the underlay. Raises LabError."""
    uplinks = [Uplink(f"up{mtu}", rate_mbps=200.0, delay_ms=1.0, mtu=mtu) for mtu in MTUS]
    with tempfile.TemporaryDirectory() as directory, two_nodes(uplinks, Path(directory) / "log") as nodes:
        nodes.want({f"{how}-{mtu}": (f"up{mtu}", how) for how in TRANSPORTS for mtu in MTUS})
        nodes.wait(lambda one: one["mtu"] is not None, _WITHIN_S)
        return {name: _crosses(nodes, name) for name in nodes.tunnels}


def _crosses(nodes: TwoNodes, name: str) -> bool:
    near, far = (node.at for node in nodes.nodes)
    with _vxlan(nodes, name):
        return a_megabyte_crosses(near, "10.77.0.1", far, "10.77.0.2")


@contextmanager
def _vxlan(nodes: TwoNodes, name: str) -> Iterator[None]:
    for serial, node in enumerate(nodes.nodes, 1):
        ends = ["local", nodes.address(serial, name), "remote", nodes.address(3 - serial, name)]
        mtu = str(nodes.tunnel(serial, name)["mtu"] - _VXLAN_BYTES)
        kind = ["type", "vxlan", "id", "7", *ends, "dstport", "4790", "dev", nodes.device(serial, name)]
        node.at.run(["ip", "link", "add", "vx", "mtu", mtu, *kind])
        node.at.run(["ip", "addr", "add", f"10.77.0.{serial}/24", "dev", "vx"])
        node.at.run(["ip", "link", "set", "vx", "up"])
    try:
        yield
    finally:
        for node in nodes.nodes:
            node.at.run(["ip", "link", "del", "vx"])
