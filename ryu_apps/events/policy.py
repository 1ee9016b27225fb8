"""What policing tells: the policy, its versions, and what becomes of a packet by it."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Event, Request
from stitching.policy.changes import Changes
from stitching.policy.decision import Flow
from stitching.policy.document import Policy
from stitching.policy.explaining import Explanation
from stitching.policy.faults import Fault
from stitching.policy.version import PolicyVersion


@dataclass
class PolicyChanged(Event):
    """The policy is now this one, or its verdicts are now those of time_s, in seconds since the epoch."""

    policy: Policy
    time_s: float


@dataclass(frozen=True)
class PolicyOutcome:
    """What a policy changes, what it is warned of, how many cases it passed; version None: nothing was done."""

    changes: Changes
    warnings: tuple[Fault, ...]
    cases: int
    version: PolicyVersion | None = None


@dataclass
class PolicyRequest(Request[PolicyVersion | None]):
    """What is the policy, or what was it in a version? None where there is none."""

    version: int | None = None


@dataclass
class PolicyVersionsRequest(Request[tuple[PolicyVersion, ...]]):
    """Which versions of the policy are there? The newest first, without their documents."""


@dataclass
class PutPolicy(Request[PolicyOutcome]):
    """Make this document the policy; with dry_run only say what that would change. Raises PolicyError.

    With `after`, only where that is the newest version (0: where there is none): else raises PolicyMoved.
    """

    document: object
    dry_run: bool = False
    after: int | None = None


class PolicyMoved(RuntimeError):
    """The policy is no longer what it was when it was read."""


@dataclass
class ExplainRequest(Request[Explanation]):
    """What becomes of such a packet (now, or at_s), and why? Raises KeyError for a host that is not there."""

    source_mac: str
    target_mac: str
    flow: Flow
    at_s: float | None = None
