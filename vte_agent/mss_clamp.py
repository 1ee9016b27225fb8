"""Has TCP's segments fit into tunnels, in an nftables table of its own.

A connection's first packets say how long segments may be (MSS, RFC 9293); where one of them passes from or to a
tunnel that is made smaller, if need be, to what the routes of both directions have room for. So a connection is
not left to word of packets that were too long, which firewalls drop (RFC 2923).
"""

from __future__ import annotations

from vte_agent.segmentation import DEVICES
from vte_agent.tables import KeptTable, Table

TABLE = "lockstitch_mss"


def mss_clamp() -> KeptTable[str]:
    """The table, as it is to be kept; what is wanted of it is the device names of tunnels."""
    return KeptTable(Table(TABLE), rules, "TCP's segments are not cut to size")


def rules(devices: str = DEVICES) -> str:
    """The table. `rt mtu` is the lesser of the routes there and back; an MSS is never made larger by it."""
    ways = "\n".join(f'  {side} "{devices}" tcp option maxseg size set rt mtu' for side in ("iifname", "oifname"))
    # All packets pass the second chain, few the first.
    return (
        f" chain opening {{\n{ways}\n }}\n"
        " chain passing {\n  type filter hook forward priority mangle; policy accept;\n"
        "  tcp flags & (syn | rst) == syn goto opening\n }\n"
    )
