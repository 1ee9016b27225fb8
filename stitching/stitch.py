"""A stitch: what was asked for, what it became, and the states it may go through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from stitching.application import Application
from stitching.network import LinkKey, reverse


class Protection(StrEnum):
    """What may die on a path while its traffic goes on: nothing, any link, or any link or switch in between."""

    NONE = "none"
    LINK = "link"
    NODE = "node"


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
    State.DOWN: frozenset({State.UP, State.DEGRADED, State.ADJUSTING, State.FAILED, State.TERMINATING}),
    State.ADJUSTING: frozenset({State.UP, State.DEGRADED, State.DOWN, State.FAILED, State.TERMINATING}),
    State.TERMINATING: frozenset({State.TERMINATED}),
    State.FAILED: frozenset({State.REQUESTED, State.TERMINATING}),
    State.REJECTED: frozenset(),
    State.TERMINATED: frozenset(),
}
"""The only way a stitch may change state."""

ENDED = frozenset({State.REJECTED, State.TERMINATED})

DEADLINES_S: dict[State, float] = {
    State.REQUESTED: 60.0,
    State.ESTABLISHING: 60.0,
    State.ADJUSTING: 60.0,
    State.TERMINATING: 60.0,
}
"""How long a stitch may be on its way, whatever it waits for: then it fails, or is taken to be gone.

Most of what can go wrong is found out sooner, see ryu_apps.installer, ryu_apps.watch and ryu_apps.stitcher.
"""


class BadTransition(RuntimeError):
    """A state was asked to follow one that it cannot follow."""


@dataclass(frozen=True, slots=True)
class StitchRequest:
    """What somebody (a person over REST, or the trigger) wants: two hosts joined by a path of their own.

    bandwidth_mbps is promised from source to target, and from target to source too where both_ways is set.
    relieves is the link that a stitch of the trigger takes load from. Where there is an application, only its
    packets are carried. max_loss is a share of packets. labels are (name, value), in order of name.
    """

    source_mac: str
    target_mac: str
    bandwidth_mbps: float
    max_latency_ms: float | None = None
    both_ways: bool = True
    origin: str = "api"
    relieves: LinkKey | None = None
    application: Application | None = None
    protection: Protection = Protection.NONE
    max_loss: float | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """The (source MAC, destination MAC) pairs whose packets the stitch carries."""
        there = (self.source_mac, self.target_mac)
        return (there, (self.target_mac, self.source_mac)) if self.both_ways else (there,)


@dataclass(frozen=True, slots=True)
class Hop:
    """One switch on a path: the packet comes in by in_port and leaves by out_port."""

    dpid: int
    in_port: int
    out_port: int


@dataclass(frozen=True, slots=True)
class StitchPath:
    """Both directions of a stitch across the fabric, edge port to edge port, over the same links.

    label is the VLAN id its packets carry on the way: no other path between these hosts has it, so that rules of
    two paths never meet the same packet. backup is the way to take when something on this one dies.
    """

    hops: tuple[Hop, ...]
    links: tuple[LinkKey, ...]
    latency_ms: float | None
    label: int = 0
    backup: StitchPath | None = None

    @property
    def reversed(self) -> StitchPath:
        """The way back."""
        return StitchPath(
            tuple(Hop(hop.dpid, hop.out_port, hop.in_port) for hop in self.hops[::-1]),
            tuple(reverse(key) for key in self.links[::-1]),
            self.latency_ms,
            self.label,
            self.backup.reversed if self.backup is not None else None,
        )

    @property
    def all_links(self) -> tuple[LinkKey, ...]:
        """The links of it, then those of its backup."""
        return self.links if self.backup is None else (*self.links, *self.backup.links)

    @property
    def dpids(self) -> frozenset[int]:
        """The switches it needs, those of its backup among them."""
        backup = self.backup.hops if self.backup is not None else ()
        return frozenset(hop.dpid for hop in (*self.hops, *backup))


@dataclass(frozen=True, slots=True)
class Stitch:
    """A stitch and its present state. Times are seconds since the epoch; since up_s it carries."""

    id: int
    request: StitchRequest
    state: State
    created_s: float
    changed_s: float
    epoch: int = 0
    path: StitchPath | None = None
    reason: str | None = None
    up_s: float | None = None
    probe_ms: float | None = None
    probe_loss: float | None = None

    def to(self, state: State, now_s: float, *, reason: str | None = None) -> Stitch:
        """The stitch in another state. Raises BadTransition where the table does not allow it."""
        if state not in TRANSITIONS[self.state]:
            raise BadTransition(f"stitch {self.id} cannot go from {self.state} to {state}")
        up_s = now_s if state is State.UP and self.up_s is None else self.up_s
        if state in (State.DOWN, State.FAILED):
            up_s = None
        return replace(self, state=state, changed_s=now_s, reason=reason, up_s=up_s)
