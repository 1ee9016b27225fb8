"""What the stitcher tells, and what is asked of stitches."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Event, Request
from stitching.displacing import Room
from stitching.promises import LinkPromises
from stitching.stitch import State, Stitch, StitchRequest


@dataclass
class StitchesChanged(Event):
    """These are all stitches that have not ended."""

    stitches: tuple[Stitch, ...]


@dataclass
class StitchMoved(Event):
    """A stitch is in another state than it was; was is None where it is new."""

    stitch: Stitch
    was: State | None


@dataclass
class StitchesRequest(Request[tuple[Stitch, ...]]):
    """All stitches, those that ended included while they are remembered.

    Where numbers are given, those of them that there are; none that is in one of the states of `but`.
    """

    numbers: frozenset[int] | None = None
    but: frozenset[State] = frozenset()


@dataclass
class ReservationsRequest(Request[tuple[LinkPromises, ...]]):
    """What is promised on every link, and to whom?"""


@dataclass
class UnsavedRequest(Request[int]):
    """How many stitches could not be stored as they are?"""


@dataclass
class CreateStitch(Request[Stitch]):
    """Make a stitch. Answers as soon as it is stored and admitted; raises NotPossible with the reason."""

    request: StitchRequest


@dataclass
class CreateStitches(Request[list[Stitch | Exception]]):
    """Make many stitches; answers for each, in order, the stitch or what would have been raised."""

    requests: tuple[StitchRequest, ...]


@dataclass
class CheckStitch(Request[Room]):
    """Could this stitch be had now, on which path, who would make room? Raises NotPossible. Nothing is booked."""

    request: StitchRequest


@dataclass
class ChangeStitch(Request[Stitch]):
    """Give a stitch other terms, for the same packets, without a gap; one that waits or failed is tried on them.

    Raises LookupError when there is none of that id, BadTransition where it is on its way, else as CreateStitch.
    With `before`, only where that is what was asked for: else raises StitchChanged.
    """

    stitch_id: int
    request: StitchRequest
    before: StitchRequest | None = None


class StitchChanged(RuntimeError):
    """The stitch is no longer what it was when it was read."""


@dataclass
class DeleteStitch(Request[Stitch]):
    """Take a stitch away. Raises LookupError when there is none of that id."""

    stitch_id: int
