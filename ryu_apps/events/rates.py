"""What telemetry tells: what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ryu_apps.app import Event, Request
from stitching.network import PortId

Pair = tuple[str, str]
"""A demand: (source MAC, destination MAC)."""


@dataclass(frozen=True)
class Rates:
    """Rates over one polling period that ended at time_s (seconds since the epoch), in Mbit/s.

    beat counts the periods of this process, those left out included: it goes on where the wall clock steps.
    A port or demand that could not be measured this time (late switch, counter reset, first sample) is absent.
    meter_packets are all that each meter of ours, by (dpid, number), has counted so far; stitch_counts the packets
    and bytes that have entered each stitch, by its id, those that ended lately included.
    """

    time_s: float
    period_s: float
    port_tx_mbps: Mapping[PortId, float] = field(default_factory=dict)
    port_rx_mbps: Mapping[PortId, float] = field(default_factory=dict)
    port_tx_drops: Mapping[PortId, float] = field(default_factory=dict)
    demand_mbps: Mapping[Pair, float] = field(default_factory=dict)
    stitch_mbps: Mapping[int, float] = field(default_factory=dict)
    meter_packets: Mapping[tuple[int, int], int] = field(default_factory=dict)
    beat: int = 0
    stitch_counts: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass
class RatesMeasured(Event):
    """A polling period is over."""

    rates: Rates


@dataclass
class RatesRequest(Request[Rates | None]):
    """What was measured last?"""


@dataclass(frozen=True)
class TelemetryStatus:
    """How polling goes. Counts are since the start, one a switch and period.

    polled: switches asked; answered: those that answered all they were asked; late: those that had not when the
    period ended. resets: counters that started over; absurd: rates dropped as past belief. late_now are the
    switches that were late in the last period.
    """

    period_s: float
    polled: int
    answered: int
    late: int
    resets: int
    absurd: int
    late_now: frozenset[int] = frozenset()


@dataclass
class TelemetryStatusRequest(Request[TelemetryStatus]):
    """How does polling go?"""
