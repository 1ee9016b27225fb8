"""The transports that a node may have."""

from __future__ import annotations

from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import Tunnels
from vte_agent.tunnels.ipsec import IpsecTunnels
from vte_agent.tunnels.wireguard import wireguard_tunnels


def transports() -> dict[Transport, Tunnels]:
    """All of them, the one that is liked best first; `missing()` of each says whether it can be had."""
    return {Transport.WIREGUARD: wireguard_tunnels(), Transport.IPSEC: IpsecTunnels()}
