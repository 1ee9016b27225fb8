"""From what is believed to what there shall be on this node: tunnels with their ends, routes, marks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from vte_agent.believing import Believed
from vte_agent.identity import WeakKey
from vte_agent.marks import UPLINKS, outer_mark
from vte_agent.protocol.members import Member
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import MOST_MTU, WantedTunnel
from vte_agent.tunnels.contract import PeerEnd, TunnelSpec
from vte_agent.tunnels.devices import device_name
from vte_agent.tunnels.ipsec_plan import inside_mtu
from vte_agent.upkeep import Goal
from vte_agent.uplinks import UplinkNow

WIREGUARD_BYTES = {4: 60, 6: 80}
"""Outer IP, UDP, and WireGuard's header and tag."""

SecretOf = Callable[[Member, str], bytes]
"""The secret that this node shares with a member for a tunnel of a name. Raises WeakKey."""


@dataclass(frozen=True)
class Wished:
    """The goals by name, and why others that are wanted are none."""

    goals: Mapping[str, Goal]
    problems: tuple[str, ...]


def goals_of(
    believed: Believed,
    own: Member,
    uplinks: Sequence[UplinkNow],
    transports: Collection[Transport],
    secret_of: SecretOf,
) -> Wished:
    """The tunnels that can be had with these uplinks and transports."""
    by_name = {uplink.name: uplink for uplink in uplinks}
    goals, problems = {}, []
    for tunnel in believed.tunnels:
        why = _why_not(tunnel, by_name, transports)
        if why:
            problems.append(f"tunnel {tunnel.name}: {why}")
            continue
        uplink = by_name[tunnel.uplink]
        try:
            peer = _peer_end(tunnel, believed, secret_of)
        except WeakKey as error:
            problems.append(f"tunnel {tunnel.name}: {error}")
            continue
        spec = TunnelSpec(
            name=tunnel.name,
            device=device_name(tunnel.name, f"{own.serial}"),
            local=uplink.address,
            address=tunnel.address,
            peer_address=tunnel.peer_address,
            mtu=tunnel.mtu or longest_inside(tunnel.transport, uplink),
            mark=outer_mark(uplink.number),
        )
        goals[tunnel.name] = Goal(spec, tunnel.transport, tunnel.peer, peer)
    return Wished(goals, tuple(problems))


def longest_inside(transport: Transport, uplink: UplinkNow) -> int:
    """The longest packet that a tunnel from an uplink can carry whole, if all the way is as wide as the uplink."""
    version = uplink.address.version
    if transport is Transport.IPSEC:
        return inside_mtu(uplink.mtu, version)
    return min(uplink.mtu - WIREGUARD_BYTES[version], MOST_MTU)


def _why_not(tunnel: WantedTunnel, uplinks: Mapping[str, UplinkNow], transports: Collection[Transport]) -> str:
    if tunnel.transport not in transports:
        return f"this node has no {tunnel.transport.value}; 'vte-agent doctor' says why"
    if tunnel.uplink not in uplinks:
        return f"there is no uplink {tunnel.uplink} now"
    if uplinks[tunnel.uplink].number > UPLINKS:
        return f"uplink {tunnel.uplink} is beyond the {UPLINKS} that can be told apart"
    local = uplinks[tunnel.uplink].address
    if tunnel.endpoint is not None and tunnel.endpoint.address.version != local.version:
        return f"uplink {tunnel.uplink} speaks IPv{local.version} and the other end does not"
    return ""


def _peer_end(tunnel: WantedTunnel, believed: Believed, secret_of: SecretOf) -> PeerEnd | None:
    """The other end, once all is known of it that the transport needs."""
    key = believed.keys.get(tunnel.name)
    if key is None and tunnel.transport is Transport.WIREGUARD:
        return None
    return PeerEnd(key, secret_of(believed.peers[tunnel.peer], tunnel.name), tunnel.endpoint)
