"""Numbers that tell packets and meters apart: VLAN ids of paths and of segments, and meters of caps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from stitching.plan import NotPossible
from stitching.rules import LEAST_METER
from stitching.stitch import BandwidthShares, SegmentTree, Stitch, StitchPath, VmRequest

LEAST_PATH_LABEL, MOST_PATH_LABEL = 2048, 3071
"""Labels of paths between two hosts: of two between other hosts they may be the same."""

LEAST_SEGMENT_LABEL, SEGMENT_LABELS = 3072, 511
"""Labels of segments come in pairs, one for each direction; no two trees have the same."""

MARKS = 7
"""Guarantees that can be told on one link, of packets without a path of their own: priorities of a tag but 0."""


def free_label(request: VmRequest, epoch: int, paths: Iterable[tuple[VmRequest, StitchPath]]) -> int:
    """A label that no path has which carries packets between the same hosts; paths are all that there are.

    It begins at the epoch, so that one which was in use just now is not the next one again. Raises NotPossible.
    """
    pairs = set(request.directions)
    taken = {path.label for other, path in paths if pairs & set(other.directions)}
    count = MOST_PATH_LABEL + 1 - LEAST_PATH_LABEL
    for step in range(count):
        label = LEAST_PATH_LABEL + (epoch + step) % count
        if label not in taken:
            return label
    raise NotPossible(
        "destination", f"there are {count} paths between these hosts already", "delete stitches between them"
    )


def segment_labels(epoch: int, count: int, stitches: Iterable[Stitch], before: SegmentTree | None) -> list[int]:
    """The first of each two labels that no tree has: one two for a tree, and one for each colour of its detours.

    They begin behind those of the tree before, or at the epoch: what was in use just now is not the next one
    again. Raises NotPossible.
    """
    taken = {label for stitch in stitches if isinstance(stitch.path, SegmentTree) for label in stitch.path.labels}
    last = max(before.labels, default=None) if before is not None else None
    first = epoch if last is None else (last - LEAST_SEGMENT_LABEL) // 2 + 1
    places = (LEAST_SEGMENT_LABEL + 2 * ((first + step) % SEGMENT_LABELS) for step in range(SEGMENT_LABELS))
    free = list(itertools.islice((label for label in places if label not in taken), count))
    if len(free) == count:
        return free
    if count == 1:
        raise NotPossible("destination", f"all {SEGMENT_LABELS} labels of segments are taken", "delete some")
    raise NotPossible(
        "protection",
        f"its detours need {count - 1} of the {SEGMENT_LABELS} labels of segments, and {len(free)} are free",
        "ask for less protection or fewer hosts, or delete segments",
    )


def free_meter(stitches: Iterable[Stitch]) -> int:
    """The number of a meter that no stitch has at any switch."""
    taken = {stitch.path.meter for stitch in stitches if isinstance(stitch.path, BandwidthShares)}
    return next(number for number in itertools.count(LEAST_METER) if number not in taken)


def free_mark(placed: BandwidthShares, others: Iterable[Stitch]) -> int:
    """A mark that no other stitch has on these links: its own where it is free, 0 where none is free or due."""
    if not placed.links:
        return 0
    links = set(placed.links)
    taken = {
        other.path.mark
        for other in others
        if isinstance(other.path, BandwidthShares) and not links.isdisjoint(other.path.links)
    }
    wanted = (placed.mark, *range(1, MARKS + 1))
    return next((mark for mark in wanted if mark and mark not in taken), 0)


def paths_of(stitches: Iterable[Stitch]) -> Iterator[tuple[VmRequest, StitchPath]]:
    """The path of every stitch between two hosts that has one."""
    for stitch in stitches:
        match stitch.request, stitch.path:
            case VmRequest() as request, StitchPath() as path:
                yield request, path
