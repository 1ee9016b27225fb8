"""The transports that a node may have."""

from __future__ import annotations

from pathlib import Path

from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import Tunnels
from vte_agent.tunnels.ipsec import IpsecTunnels
from vte_agent.tunnels.own_keys import DIRECTORY
from vte_agent.tunnels.wireguard import wireguard_tunnels


def transports(state: Path | None = None) -> dict[Transport, Tunnels]:
    """All of them, the one that is liked best first; `missing()` of each says whether it can be had.

    state: the directory of the agent whose they are, where keys are kept; None: of who only looks.
    """
    keys = state / DIRECTORY if state is not None else None
    return {Transport.WIREGUARD: wireguard_tunnels(keys), Transport.IPSEC: IpsecTunnels()}
