"""VLAN ids that tell the packets of one path from those of another between the same two hosts."""

from __future__ import annotations

from collections.abc import Iterable

from stitching.plan import NotPossible
from stitching.stitch import Stitch, StitchPath, StitchRequest

LEAST_PATH_LABEL, MOST_PATH_LABEL = 2048, 3071
"""Labels of paths between two hosts; those above are of segments."""


def free_label(request: StitchRequest, epoch: int, paths: Iterable[tuple[StitchRequest, StitchPath]]) -> int:
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


def paths_of(stitches: Iterable[Stitch]) -> Iterable[tuple[StitchRequest, StitchPath]]:
    """The path of every stitch that has one."""
    return ((stitch.request, stitch.path) for stitch in stitches if stitch.path is not None)
