"""By which label the packets of a stitch are told at a port: nobody outside the fabric can send any of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.network import LinkKey, reverse
from stitching.pipeline import CLASS_LABEL
from stitching.queues import Labelled
from stitching.segment import SegmentRequest, SegmentTree
from stitching.stitch import Stitch
from stitching.vm import StitchPath, VmRequest


def flows(stitch: Stitch, key: LinkKey, unguarded: Iterable[Stitch]) -> tuple[Labelled, ...]:
    """The packets on a directed link that are under the promise of a stitch.

    unguarded are stitches with no promise of their own: what a bandwidth stitch guarantees may be on their paths.
    """
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            return tuple(_of_path(request, path, key))
        case SegmentRequest(), SegmentTree() as tree:
            return tuple(Labelled(first + way) for first in tree.labels for way in (0, 1))
        case BandwidthRequest() as request, BandwidthShares() as placed:
            marked = Labelled(CLASS_LABEL, placed.mark)
            pairs = {(one.mac, other.mac) for one, other in placed.pairs()}
            carried = (flow for other in unguarded for flow in _on_others(request, pairs, other, key))
            return (marked, *carried)
    return ()


def _of_path(request: VmRequest, path: StitchPath, key: LinkKey) -> Iterator[Labelled]:
    """Of a protected path also what runs back from a place that died."""
    onward, back = set(path.all_links), {reverse(link) for link in path.all_links}
    if path.backup is not None:
        onward, back = onward | {reverse(link) for link in path.links}, back | set(path.links)
    for (source, target), links in zip(request.directions, (onward, back), strict=False):
        if key in links:
            yield Labelled(path.label, None, source, target)


def _on_others(
    request: BandwidthRequest, pairs: set[tuple[str, str]], other: Stitch, key: LinkKey
) -> Iterator[Labelled]:
    match other.request, other.path:
        case VmRequest() as carrying, StitchPath() as path:
            for flow in _of_path(carrying, path, key):
                if (flow.source_mac, flow.target_mac) in pairs:
                    yield flow
        case SegmentRequest() as segment, SegmentTree() as tree if (
            key in tree.all_links or reverse(key) in tree.all_links
        ):
            for way, vnets in enumerate((segment.vnets, segment.vnets[::-1])):
                if vnets == request.vnets:
                    yield from (Labelled(first + way) for first in tree.labels)
