"""From an intent to the stitches it asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stitching.application import Application
from stitching.bandwidth import BandwidthRequest
from stitching.intents.document import Latency, Rate, Share, Transfer
from stitching.intents.units import application_words
from stitching.intents.world import NAME_LABEL, ORIGIN, PART_LABEL
from stitching.segment import SegmentRequest, Side
from stitching.stitch import StitchRequest, VmRequest

SEGMENT_PART, RATE_PART = "segment", "rate"
"""The only parts of intents of these forms."""


def pair_part(source_mac: str, target_mac: str) -> str:
    """The part of an intent that a pair of hosts is."""
    return f"{source_mac}>{target_mac}"


def latency_request(intent: str, form: Latency, pair: tuple[str, str]) -> VmRequest:
    """The stitch between two hosts, by MAC, that an intent for low latency asks for."""
    return VmRequest(
        source_mac=pair[0],
        target_mac=pair[1],
        bandwidth_mbps=form.bandwidth_mbps,
        max_latency_ms=form.max_latency_ms,
        max_loss=form.max_loss,
        application=form.application,
        protection=form.protection,
        origin=ORIGIN,
        labels=labels(intent, pair_part(*pair)),
    )


def transfer_request(intent: str, form: Transfer, pair: tuple[str, str], mbps: float) -> VmRequest:
    """The stitch that a transfer runs over, one way."""
    return VmRequest(
        source_mac=pair[0],
        target_mac=pair[1],
        bandwidth_mbps=mbps,
        both_ways=False,
        application=form.application,
        origin=ORIGIN,
        labels=labels(intent, pair_part(*pair)),
    )


def share_request(intent: str, form: Share, sides: tuple[Side, Side]) -> SegmentRequest:
    """The segment of two parts; whichever of them is named first, it is the same."""
    source, target = sorted(sides, key=lambda side: side.vnet)
    return SegmentRequest(
        source=source,
        target=target,
        bandwidth_mbps=form.bandwidth_mbps,
        max_latency_ms=form.max_latency_ms,
        max_loss=form.max_loss,
        origin=ORIGIN,
        labels=labels(intent, SEGMENT_PART),
    )


def rate_request(intent: str, form: Rate) -> BandwidthRequest:
    """The stitch that keeps a rate between two virtual networks."""
    return BandwidthRequest(
        source_vnet=form.source.name,
        target_vnet=form.target.name,
        guarantee_mbps=form.guarantee_mbps,
        cap_mbps=form.cap_mbps,
        follow_forecast=form.follow_forecast,
        bandwidth_mbps=form.guarantee_mbps or 0.0,
        origin=ORIGIN,
        labels=labels(intent, RATE_PART),
    )


def labels(intent: str, part: str) -> tuple[tuple[str, str], ...]:
    """How a stitch says what it is for, in order of name."""
    return tuple(sorted({NAME_LABEL: intent, PART_LABEL: part}.items()))


def difference(has: StitchRequest, wants: StitchRequest) -> list[str]:
    """What is not as it is wanted, in words; empty where nothing is."""
    fields: Iterable[tuple[str, str, str]] = (
        ("guarantee_mbps", "guarantee", " Mbit/s"),
        ("cap_mbps", "cap", " Mbit/s"),
        ("follow_forecast", "follows the forecast", ""),
        ("bandwidth_mbps", "bandwidth", " Mbit/s"),
        ("max_latency_ms", "latency limit", " ms"),
        ("max_loss", "loss limit", ""),
        ("protection", "protection", ""),
        ("application", "application", ""),
        ("both_ways", "both ways", ""),
    )
    words = []
    for name, what, unit in fields:
        if name == "bandwidth_mbps" and isinstance(wants, BandwidthRequest):
            continue  # it is that of the guarantee
        was, will = getattr(has, name, None), getattr(wants, name, None)
        if was != will:
            words.append(f"{what} {shown(was, unit)} -> {shown(will, unit)}")
    if isinstance(has, SegmentRequest) and isinstance(wants, SegmentRequest) and has.sides != wants.sides:
        words.append("other hosts")
    if not words and has != wants:
        words.append("other terms")
    return words


def same_terms(one: StitchRequest, other: StitchRequest) -> bool:
    """Whether two requests differ in their labels at most."""
    return replace(one, labels=()) == replace(other, labels=())


def shown(value: object, unit: str = "") -> str:
    """A value of a request as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}{unit}"
    return application_words(value) if isinstance(value, Application) else str(value)
