"""What both ends of an IPsec tunnel derive from its name and its two addresses, without asking each other.

What is encrypted is VXLAN between two addresses of 240.0.0.0/4, which is nobody's (RFC 1112): the traffic
selectors. Their other 28 bits are the low bits of the tunnel's own addresses, so they are as unique as those are
within any /4. The VNI is the low 25 bits of the lower address without the last: unique for the /31 and /127 pairs
of any /7. Where they are not unique the second tunnel is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Final

from vte_agent.tunnels.contract import Address, TunnelFailed, TunnelSpec

OUTER_RANGE: Final = IPv4Network("240.0.0.0/4")
KIND: Final = "vxlan"
"""Of the devices, as the kernel names it."""

VXLAN_PORT: Final = 14789
"""Not VXLAN's own: an Open vSwitch of the node may have that."""

TUN_MTU: Final = 1400
"""Of charon's TUN device; it can be told no other."""

GATEWAYS: Final[Mapping[int, Address]] = {4: IPv4Address("169.254.76.83"), 6: IPv6Address("fe80::4c:53")}
"""Who stands for the other end on every device, by IP version: a way by it needs to ask for no link address."""

_LOW_BITS = (1 << 28) - 1
_VNI_BITS = (1 << 24) - 1
_VXLAN_BYTES = 20 + 8 + 8 + 14
_ESP_BYTES = 8 + 8 + 8 + 16
"""UDP, ESP, IV, ICV (RFC 3948, 4106)."""
_ESP_TRAILER_BYTES, _ESP_ALIGNMENT = 2, 4
_IP_BYTES = {4: 20, 6: 40}

MOST_MTU: Final = TUN_MTU - _VXLAN_BYTES


@dataclass(frozen=True)
class Plan:
    """One end. first: whether it is the one that calls when both can. near and far: the traffic selectors."""

    first: bool
    near: IPv4Address
    far: IPv4Address
    vni: int
    near_id: str
    far_id: str
    near_mac: str
    far_mac: str


def plan(spec: TunnelSpec) -> Plan:
    """What this end is, as seen by itself. Raises TunnelFailed for addresses that no tunnel can have."""
    if spec.address == spec.peer_address or spec.address.version != spec.peer_address.version:
        raise TunnelFailed(f"tunnel {spec.name} needs two addresses of one family, one for each end")
    first = int(spec.address) < int(spec.peer_address)
    near, far = _outer(spec.address), _outer(spec.peer_address)
    if near == far or OUTER_RANGE[-1] in (near, far):
        raise TunnelFailed(f"the addresses of tunnel {spec.name} cannot be told apart by their last 28 bits")
    vni = (min(int(spec.address), int(spec.peer_address)) >> 1) & _VNI_BITS
    ids = f"a.{spec.name}", f"b.{spec.name}"
    macs = f"02:6c:{_hex(vni)}:0a", f"02:6c:{_hex(vni)}:0b"
    ours = 0 if first else 1
    return Plan(first, near, far, vni, ids[ours], ids[1 - ours], macs[ours], macs[1 - ours])


def inside_mtu(path_mtu: int, version: int) -> int:
    """The longest packet inside that travels whole where outer packets (of this IP version) may be so long."""
    room = path_mtu - _IP_BYTES[version] - _ESP_BYTES
    return min(TUN_MTU, room // _ESP_ALIGNMENT * _ESP_ALIGNMENT - _ESP_TRAILER_BYTES) - _VXLAN_BYTES


def is_outer(text: str) -> bool:
    """Whether this is an address that such a tunnel's VXLAN has."""
    try:
        return ipaddress.ip_address(text) in OUTER_RANGE
    except ValueError:
        return False


def _outer(address: Address) -> IPv4Address:
    return IPv4Address(int(OUTER_RANGE[0]) | int(address) & _LOW_BITS)


def _hex(vni: int) -> str:
    return ":".join(f"{byte:02x}" for byte in vni.to_bytes(3))
