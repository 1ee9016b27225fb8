"""Has TCP's segments fit into tunnels, in an nftables table of its own.

A connection's first packets say how long segments may be (MSS, RFC 9293); where one of them passes from or to a
tunnel that is made smaller, if need be, to what the routes of both directions have room for. So a connection is
not left to word of packets that were too long, which firewalls drop (RFC 2923).
"""

from __future__ import annotations

from vte_agent import nft
from vte_agent.segmentation import DEVICES

TABLE = "lockstitch_mss"

_REMOVED = f"table inet {TABLE} {{ }}\ndelete table inet {TABLE}\n"


class NotClamped(RuntimeError):
    """The table could not be set or removed; the message says why and what to do."""


def rules() -> str:
    """The table. `rt mtu` is the lesser of the routes there and back; an MSS is never made larger by it."""
    ways = "\n".join(
        f'  {side} "{DEVICES}" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu'
        for side in ("iifname", "oifname")
    )
    chain = f" chain passing {{\n  type filter hook forward priority mangle; policy accept;\n{ways}\n }}\n"
    return f"{_REMOVED}table inet {TABLE} {{\n{chain}}}\n"


class MssClamp:
    """The table in the network namespace that the caller is in."""

    def apply(self) -> None:
        """From now on segments are cut to size. Raises NotClamped."""
        self._nft(rules())

    def clear(self) -> None:
        """Take the table away; nothing happens where there is none. Raises NotClamped."""
        self._nft(_REMOVED)

    @staticmethod
    def _nft(text: str) -> None:
        try:
            nft.nft(["-f", "-"], text)
        except nft.NftFailed as error:
            raise NotClamped(str(error)) from error
