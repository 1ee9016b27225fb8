"""What switches say that they can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ryu_apps.app import Event, Request
from stitching.enforcement import MeterFacts


@dataclass(frozen=True)
class DatapathFacts:
    """What a switch said it can do; what it did not say, or has not, is 0, empty or None.

    watches_liveness: its groups know whether a port is live.
    """

    dpid: int
    tables: int
    software: str = ""
    meters: MeterFacts | None = None
    fast_failover_groups: int | None = None
    watches_liveness: bool = False


@dataclass
class Capabilities(Event):
    """A switch has said what it can do."""

    facts: DatapathFacts


@dataclass
class CapabilitiesRequest(Request[Mapping[int, DatapathFacts]]):
    """What can the connected switches do?"""
