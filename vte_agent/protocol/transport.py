"""What the tunnels between sites are made of; on its own, as the command line needs no more of the protocol."""

from __future__ import annotations

from enum import StrEnum


class Transport(StrEnum):
    """What a tunnel is made of."""

    WIREGUARD = "wireguard"
    IPSEC = "ipsec"
