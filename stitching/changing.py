"""Which stitch another one may become while it is there: its terms change, and what it is about does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stitching.bandwidth import BandwidthRequest
from stitching.plan import NotPossible
from stitching.segment import SegmentRequest
from stitching.stitch import Placement, Stitch, StitchRequest
from stitching.vm import VmRequest

_ANYWHERE = ("bandwidth_mbps", "max_latency_ms", "max_loss", "labels", "priority", "valid")
"""Terms that say nothing of where a stitch lies, as long as its links have the bandwidth and are fast enough."""


def about_the_same(one: StitchRequest, other: StitchRequest) -> bool:
    """Whether one may become the other: for the same packets, or between the same virtual networks."""
    match one, other:
        case VmRequest(), VmRequest():
            return (one.directions, one.application) == (other.directions, other.application)
        case SegmentRequest(), SegmentRequest():
            return one.vnets == other.vnets
        case BandwidthRequest(), BandwidthRequest():
            return one.vnets == other.vnets
    return False


def refuse_change(before: StitchRequest, after: StitchRequest) -> None:
    """Raise NotPossible for what a stitch cannot become."""
    if not about_the_same(before, after):
        raise NotPossible("destination", "a stitch carries the same packets all its life", "make another one")


def as_asked(request: StitchRequest) -> StitchRequest:
    """The request as somebody made it: a guarantee that follows the forecast may be promised more by now."""
    if isinstance(request, BandwidthRequest):
        return replace(request, bandwidth_mbps=request.guarantee_mbps or 0.0)
    return request


def carried_on(before: StitchRequest, after: StitchRequest) -> StitchRequest:
    """What is asked for, with what the forecast has made of its guarantee, as far as that is still within it."""
    if not isinstance(before, BandwidthRequest) or not isinstance(after, BandwidthRequest):
        return after
    if not before.follow_forecast or not after.follow_forecast or after.guarantee_mbps is None:
        return as_asked(after)
    most = before.bandwidth_mbps if after.cap_mbps is None else min(before.bandwidth_mbps, after.cap_mbps)
    return replace(after, bandwidth_mbps=max(most, after.guarantee_mbps))


def may_stay(stitch: Stitch, request: StitchRequest) -> bool:
    """Whether a stitch that lies somewhere may lie there on other terms too, without a rule being changed."""
    before = stitch.request
    if request.max_latency_ms != before.max_latency_ms and not _fast_enough(stitch.path, request.max_latency_ms):
        return False
    same: dict[str, Any] = {name: getattr(request, name) for name in _ANYWHERE}
    if (
        isinstance(before, BandwidthRequest)
        and isinstance(request, BandwidthRequest)
        and (before.guarantee_mbps is None) == (request.guarantee_mbps is None)
    ):
        same |= {"guarantee_mbps": request.guarantee_mbps, "follow_forecast": request.follow_forecast}
    if not request.encrypted:
        same["encrypted"] = False
    return replace(before, **same) == request


def _fast_enough(path: Placement | None, most_ms: float | None) -> bool:
    return most_ms is None or (path is not None and path.latency_ms is not None and path.latency_ms <= most_ms)
