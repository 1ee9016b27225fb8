"""A stitch: what was asked for, what it became, and the states it may go through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.segment import SegmentRequest, SegmentTree
from stitching.terms import Protection
from stitching.vm import Hop, StitchPath, VmRequest

__all__ = [
    "DEADLINES_S",
    "ENDED",
    "TRANSITIONS",
    "BadTransition",
    "BandwidthRequest",
    "BandwidthShares",
    "Hop",
    "Placement",
    "Protection",
    "SegmentRequest",
    "SegmentTree",
    "State",
    "Stitch",
    "StitchPath",
    "StitchRequest",
    "VmRequest",
]


class State(StrEnum):
    """Where a stitch is in its life. Only UP has been proven by a packet."""

    REQUESTED = "requested"
    ESTABLISHING = "establishing"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    ADJUSTING = "adjusting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    REJECTED = "rejected"
    FAILED = "failed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.ESTABLISHING, State.REJECTED, State.FAILED, State.TERMINATING}),
    State.ESTABLISHING: frozenset({State.UP, State.FAILED, State.TERMINATING}),
    State.UP: frozenset({State.DEGRADED, State.DOWN, State.ADJUSTING, State.TERMINATING}),
    State.DEGRADED: frozenset({State.UP, State.DOWN, State.ADJUSTING, State.TERMINATING}),
    State.DOWN: frozenset({State.FAILED, State.REQUESTED, State.TERMINATING}),
    State.ADJUSTING: frozenset({State.UP, State.DEGRADED, State.DOWN, State.FAILED, State.TERMINATING}),
    State.TERMINATING: frozenset({State.TERMINATED}),
    State.FAILED: frozenset({State.REQUESTED, State.REJECTED, State.TERMINATING}),
    State.REJECTED: frozenset(),
    State.TERMINATED: frozenset(),
}
"""The only way a stitch may change state."""

ENDED = frozenset({State.REJECTED, State.TERMINATED})

DEADLINES_S: dict[State, float] = {
    State.REQUESTED: 60.0,
    State.ESTABLISHING: 60.0,
    State.ADJUSTING: 60.0,
    State.DOWN: 60.0,
    State.TERMINATING: 60.0,
}
"""How long a stitch may be on its way, whatever it waits for: then it fails, or is taken to be gone.

DOWN is while the rules of a path that carries nothing are taken out: after that it is FAILED or REQUESTED.
Most of what can go wrong is found out sooner, see ryu_apps.installer and ryu_apps.stitches.judging.
"""


class BadTransition(RuntimeError):
    """A state was asked to follow one that it cannot follow."""


StitchRequest = VmRequest | SegmentRequest | BandwidthRequest
"""What somebody wants: one of the kinds of stitches."""

Placement = StitchPath | SegmentTree | BandwidthShares
"""Where a stitch lies in the fabric, by its kind."""


@dataclass(frozen=True, slots=True)
class Stitch:
    """A stitch and its present state. Times are seconds since the epoch; since up_s it carries."""

    id: int
    request: StitchRequest
    state: State
    created_s: float
    changed_s: float
    epoch: int = 0
    path: Placement | None = None
    reason: str | None = None
    up_s: float | None = None
    probe_ms: float | None = None
    probe_loss: float | None = None
    enforced: str = "none"
    enforced_why: str | None = None
    enforced_cap: str | None = None

    @property
    def vm_request(self) -> VmRequest:
        """What was asked for, of a stitch between two hosts. Raises TypeError for another kind."""
        if not isinstance(self.request, VmRequest):
            raise TypeError(f"stitch {self.id} is of kind {self.request.KIND}")
        return self.request

    @property
    def vm_path(self) -> StitchPath | None:
        """Where it lies, of a stitch between two hosts; None for one without a path, and for other kinds."""
        return self.path if isinstance(self.path, StitchPath) else None

    def to(self, state: State, now_s: float, *, reason: str | None = None) -> Stitch:
        """The stitch in another state. Raises BadTransition where the table does not allow it."""
        if state not in TRANSITIONS[self.state]:
            raise BadTransition(f"stitch {self.id} cannot go from {self.state} to {state}")
        up_s = now_s if state is State.UP and self.up_s is None else self.up_s
        if state in (State.DOWN, State.FAILED):
            up_s = None
        return replace(self, state=state, changed_s=now_s, reason=reason, up_s=up_s)
