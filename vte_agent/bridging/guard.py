"""Keeps inside the tunnels what came by one, and links: they go by a tunnel, out and in, or not at all.

What comes by a tunnel is for a network behind the site, or goes on by another tunnel. Where the route for that is
not there yet, or not any more, the default route would lead it out of an uplink in the clear.

A VXLAN device takes packets of its VNI from anybody, and the kernel sends what it makes by any route there is. So
it would pass on what still comes for an anchor that is no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vte_agent.bridging.difference import LinkDevice
from vte_agent.bridging.vxlan import PORT
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.wanted import Address, WantedLink
from vte_agent.segmentation import DEVICES
from vte_agent.tables import KeptTable, Table

TABLE = "lockstitch_links"


@dataclass(frozen=True)
class Site:
    """The node's uplinks, by device, and the networks behind it."""

    uplinks: tuple[str, ...] = ()
    prefixes: tuple[Prefix, ...] = ()


NO_SITE = Site()


@dataclass(frozen=True)
class Guarded:
    """These links let packets in, and what is for one of the anchors leaves by tunnels alone."""

    site: Site
    links: tuple[WantedLink, ...]
    anchors: frozenset[Address]


def anchors_of(links: Iterable[WantedLink], devices: Iterable[LinkDevice]) -> frozenset[Address]:
    """The ends of links that are wanted, and of those that are there."""
    wanted = (end for one in links for end in (one.local, one.remote))
    found = (end for one in devices for end in (one.local, one.remote) if end is not None)
    return frozenset([*wanted, *found])


def links_guard() -> KeptTable[Guarded]:
    """The table, as it is to be kept."""
    return KeptTable(Table(TABLE), rules, "nothing keeps inside the tunnels what came by one, so no link is made")


def rules(guarded: Guarded) -> str:
    """The table in nftables' own language."""
    # 24 bits behind the 8 bytes of UDP and the 4 of flags (RFC 7348).
    let_in = [
        f'  iifname "{DEVICES}" {_ip(link.local)} saddr {link.remote} {_ip(link.local)} daddr {link.local} '
        f"udp dport {PORT} @th,96,24 {link.vni} accept"
        for link in sorted(guarded.links, key=lambda link: link.name)
    ]
    kept_in = [
        f'  oifname != "{DEVICES}" {_ip(one)} daddr {one} udp dport {PORT} drop'
        for one in sorted(guarded.anchors, key=lambda one: (one.version, int(one)))
    ]
    # A chain that has nothing to say costs each packet its way through it.
    return "".join(
        f" chain {name} {{\n  type filter hook {hook} priority -150;\n" + "\n".join([*lines, " }", ""])
        for name, hook, lines in (
            # Also where no link is wanted: filters leave it to this table who may send one (segmentation.py).
            ("arriving", "input", [*let_in, f"  udp dport {PORT} drop"]),
            ("passing", "forward", list(_passing(guarded.site))),
            # Behind the last word on the way it takes.
            ("leaving", "postrouting", kept_in),
        )
        if lines
    )


def _passing(site: Site) -> Iterator[str]:
    if not site.uplinks:
        return
    devices = ", ".join(f'"{device}"' for device in site.uplinks)
    yield f'  iifname != "{DEVICES}" accept'
    yield f"  oifname != {{ {devices} }} accept"
    for version, family, word in ((4, "ipv4", "ip"), (6, "ipv6", "ip6")):
        own = ", ".join(str(prefix) for prefix in site.prefixes if prefix.version == version)
        yield f"  {word} daddr != {{ {own} }} drop" if own else f"  meta nfproto {family} drop"


def _ip(address: Address) -> str:
    return "ip" if address.version == 4 else "ip6"
