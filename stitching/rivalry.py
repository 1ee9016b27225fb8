"""Whether two stitches would carry the same packets, with no telling whose they are."""

from __future__ import annotations

from stitching.application import Application
from stitching.stitch import BandwidthRequest, SegmentRequest, StitchRequest, VmRequest


def collide(one: StitchRequest, other: StitchRequest) -> bool:
    """Whether some packet would be of both."""
    match one, other:
        case VmRequest(), VmRequest():
            return _same_packets(one, other)
        case SegmentRequest(), SegmentRequest():
            # Broadcast of a host goes into one segment: it cannot be in two.
            return any(ours.may_share(theirs) for ours in one.sides for theirs in other.sides)
        case BandwidthRequest(), BandwidthRequest():
            return one.vnets == other.vnets
    return False


def _same_packets(one: VmRequest, other: VmRequest) -> bool:
    ours = zip(one.directions, _applications(one), strict=False)
    theirs = dict(zip(other.directions, _applications(other), strict=False))
    for pair, application in ours:
        if pair not in theirs:
            continue
        rival = theirs[pair]
        if application is None or rival is None:
            # One application beside all the rest: the narrower has its packets.
            if application is rival:
                return True
        elif application.narrowness == rival.narrowness and application.overlaps(rival):
            return True
    return False


def _applications(request: VmRequest) -> tuple[Application | None, Application | None]:
    application = request.application
    return (application, application.back if application is not None else None)
