"""A fabric to compile intents on: two networks of hosts on a ring of four switches, links of 10 Mbit/s."""

from __future__ import annotations

from typing import Any

from stitching.intents.document import Document
from stitching.intents.reading import read_document
from stitching.intents.world import World
from stitching.network import Host, Link, LinkKey, Network
from stitching.vnet import Directory, Member, VNet

NOW_S = 1_790_000_000.0
"""2026-09-21T14:13:20Z, a Monday."""

NAMES = ("r1", "r2", "r3", "b1", "b2")
MACS = {name: f"02:00:00:00:00:0{n}" for n, name in enumerate(NAMES, 1)}


def ring(capacity_mbps: float | None = 10.0) -> Network:
    """Switches 1 to 4 in a ring; r1, b1 on 1, r2 on 2, r3, b2 on 3."""
    ends: list[LinkKey] = [(1, 10, 2, 11), (2, 10, 3, 11), (3, 10, 4, 11), (4, 10, 1, 11)]
    keys = [*ends, *((c, d, a, b) for a, b, c, d in ends)]
    at = {"r1": (1, 1), "r2": (2, 1), "r3": (3, 1), "b1": (1, 2), "b2": (3, 2)}
    hosts = {
        MACS[name]: Host(MACS[name], *port, frozenset({f"10.0.0.{n}"}))
        for n, (name, port) in enumerate(at.items(), 1)
    }
    return Network({}, {key: Link(key, capacity_mbps, 1.0) for key in keys}, hosts)


def directory() -> Directory:
    """The networks red (r1, r2, r3) and blue (b1, b2)."""
    return Directory.of(
        VNet(vnet, tuple(Member(MACS[name], name) for name in NAMES if name[0] == vnet[0]))
        for vnet in ("red", "blue")
    )


def world(**others: Any) -> World:
    """The fabric at NOW_S."""
    return World(**{"network": ring(), "directory": directory(), "now_s": NOW_S, **others})


def document(*intents: dict[str, Any]) -> Document:
    """A document of these."""
    return read_document({"intents": list(intents)})


def latency(name: str, *between: Any, **terms: Any) -> dict[str, Any]:
    """An intent for low latency."""
    return {"name": name, "latency": {"between": list(between), **terms}}


def transfer(name: str, source: str, target: str, amount: str, **when: Any) -> dict[str, Any]:
    """An intent for a transfer, by 06:00 UTC unless told otherwise."""
    when = when or {"start": "14:00", "deadline": "16:00", "zone": "UTC"}
    return {"name": name, "transfer": {"from": source, "to": target, "amount": amount, **when}}


def apart(name: str, *ends: Any) -> dict[str, Any]:
    """An intent that keeps networks apart."""
    return {"name": name, "apart": list(ends)}


def share(name: str, *between: Any, **terms: Any) -> dict[str, Any]:
    """An intent that makes parts of two networks one segment."""
    return {"name": name, "share": {"between": list(between), **terms}}


def rate(name: str, source: str, target: str, **terms: Any) -> dict[str, Any]:
    """An intent for what one network may send to another."""
    return {"name": name, "rate": {"from": source, "to": target, **terms}}


def reach(name: str, source: str, target: str, **terms: Any) -> dict[str, Any]:
    """An intent that lets one call another."""
    return {"name": name, "reach": {"from": source, "to": target, **terms}}
