"""Which stitch another one may become while it is there: its terms change, and what it is about does not."""

from __future__ import annotations

from dataclasses import replace

from stitching.bandwidth import BandwidthRequest
from stitching.segment import SegmentRequest
from stitching.stitch import StitchRequest
from stitching.vm import VmRequest


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


def as_asked(request: StitchRequest) -> StitchRequest:
    """The request as somebody made it: a guarantee that follows the forecast may be promised more by now."""
    if isinstance(request, BandwidthRequest) and request.follow_forecast:
        return replace(request, bandwidth_mbps=request.guarantee_mbps or 0.0)
    return request
