"""An ear at the internet: it counts what crosses it unencrypted."""

from __future__ import annotations

import json

from mininet_topos.overlay.enclosure import Enclosure

_INSIDE = "{ 10.0.0.0/8, 100.64.0.0/10 }"
"""Addresses behind sites, and of tunnels: on the internet nobody has them."""


class Ear:
    """Counts from when it is made. Raises LabError."""

    def __init__(self, router: Enclosure) -> None:
        self._router = router
        self.listen()

    def listen(self) -> None:
        """Count from now on."""
        rules = "\n".join(f"  ip {side} {_INSIDE} counter name clear accept" for side in ("saddr", "daddr"))
        hook = "type filter hook prerouting priority -300;"
        body = f" counter clear {{ }}\n chain passing {{\n  {hook}\n{rules}\n }}\n"
        text = f"table inet ear {{}}\ndelete table inet ear\ntable inet ear {{\n{body}}}\n"
        self._router.run(["nft", "-f", "-"], stdin=text)

    def heard(self) -> int:
        """How many packets with an address of the inside crossed the internet."""
        said = json.loads(self._router.run(["nft", "-j", "list", "counters", "table", "inet", "ear"]))
        return int(next(part["counter"]["packets"] for part in said["nftables"] if "counter" in part))
