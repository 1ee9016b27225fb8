"""Everything the apps tell or ask each other. A counter goes round the ring in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting import Forecast
from ryu_apps.app import Event, Request
from ryu_apps.source_guard import Spoof
from stitching.difference import Difference, Stage
from stitching.enforcement import Choice, MeterFacts, QueueFacts
from stitching.intents.judging import Status
from stitching.intents.planning import Plan
from stitching.intents.version import IntentVersion
from stitching.intents.wanted import Key, Note
from stitching.network import LinkKey, Network, PortId
from stitching.policy.changes import Changes
from stitching.policy.decision import Flow
from stitching.policy.document import Policy
from stitching.policy.explaining import Explanation
from stitching.policy.faults import Fault
from stitching.policy.version import PolicyVersion
from stitching.queues import PortQueues
from stitching.rules import RuleSet
from stitching.stitch import Placement, State, Stitch, StitchRequest, VmRequest
from stitching.vnet import VNet

Pair = tuple[str, str]
"""A demand: (source MAC, destination MAC)."""


# discovery -----------------------------------------------------------------------------------------------


@dataclass
class NetworkChanged(Event):
    """The fabric is not what it was; `network` is what it is now."""

    network: Network


@dataclass
class NetworkRequest(Request[Network]):
    """What does the fabric look like, with the live delay estimates?"""


@dataclass
class SetCapacities(Request[int]):
    """The operator says what these links carry; answers how many links of the fabric it applied to.

    A port that has no link yet keeps its capacity for when it has one.
    """

    capacity_mbps: Mapping[PortId, float]


@dataclass
class SpoofSeen(Event):
    """A packet was not believed, as its sender is not who it says; told once a minute for each forgery."""

    spoof: Spoof


# forwarding ----------------------------------------------------------------------------------------------


@dataclass
class VnetsChanged(Event):
    """The virtual networks are now these."""

    vnets: tuple[VNet, ...]


@dataclass
class VnetsRequest(Request[tuple[VNet, ...]]):
    """Which virtual networks are there?"""


@dataclass
class PutVnet(Request[bool]):
    """Create a virtual network or replace the one of this name; answers whether it is new."""

    vnet: VNet


@dataclass
class DeleteVnet(Request[bool]):
    """Forget a virtual network; its hosts fall back to the default one. Answers whether it was there."""

    name: str


# policing ------------------------------------------------------------------------------------------------


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


# telemetry -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """Rates over one polling period that ended at time_s (seconds since the epoch), in Mbit/s.

    beat counts the periods of this process, those left out included: it goes on where the wall clock steps.
    A port or demand that could not be measured this time (late switch, counter reset, first sample) is absent.
    meter_packets are all that each meter of ours, by (dpid, number), has counted so far.
    """

    time_s: float
    period_s: float
    port_tx_mbps: Mapping[PortId, float] = field(default_factory=dict)
    port_rx_mbps: Mapping[PortId, float] = field(default_factory=dict)
    port_tx_drops: Mapping[PortId, float] = field(default_factory=dict)
    demand_mbps: Mapping[Pair, float] = field(default_factory=dict)
    stitch_mbps: Mapping[int, float] = field(default_factory=dict)
    meter_packets: Mapping[tuple[int, int], int] = field(default_factory=dict)
    beat: int = 0


@dataclass
class RatesMeasured(Event):
    """A polling period is over."""

    rates: Rates


@dataclass
class RatesRequest(Request[Rates | None]):
    """What was measured last?"""


@dataclass(frozen=True)
class TelemetryStatus:
    """How polling goes. Counts are since the start, one a switch and period.

    polled: switches asked; answered: those that answered all they were asked; late: those that had not when the
    period ended. resets: counters that started over; absurd: rates dropped as past belief. late_now are the
    switches that were late in the last period.
    """

    period_s: float
    polled: int
    answered: int
    late: int
    resets: int
    absurd: int
    late_now: frozenset[int] = frozenset()


@dataclass
class TelemetryStatusRequest(Request[TelemetryStatus]):
    """How does polling go?"""


# predictor -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outlook:
    """What is expected from time_s on: the load of each link as traffic is routed now, and each demand.

    The names of `links` are in the order of `link_keys`, those of `demands` in the order of `pairs`.
    stitches are those, by id and epoch, whose paths the link loads were worked out with. left_out is how many
    demands are not forecast because there are too many.
    """

    time_s: float
    link_keys: tuple[LinkKey, ...]
    links: Forecast
    pairs: tuple[Pair, ...]
    demands: Forecast
    samples: int
    stitches: frozenset[tuple[int, int]] = frozenset()
    left_out: int = 0


@dataclass
class OutlookReady(Event):
    """A new forecast."""

    outlook: Outlook


@dataclass
class OutlookRequest(Request[Outlook | None]):
    """What was forecast last?"""


@dataclass(frozen=True)
class Alarm:
    """A sample that nobody would have expected, of demands or of loads, and how surprising it was."""

    time_s: float
    kind: str
    name: str
    bits: float


@dataclass
class AlarmsRaised(Event):
    """These samples came as a surprise."""

    alarms: tuple[Alarm, ...]


@dataclass(frozen=True)
class ForecastStatus:
    """How forecasts of demands and of link loads did: the share that came true of each central interval, lately.

    `demands` and `loads` are by the share an interval should hold, empty before the first outcome; the counts are
    of all outcomes. workers_lost is how many processes died over it or were given up; waited for how many steps an
    answer is due, other processes that were tried included; failures and fit_failures how many forecasts and fits
    came to nothing in a row; alarms are the newest ones, oldest first.
    """

    demands: Mapping[float, float]
    demand_outcomes: int
    loads: Mapping[float, float]
    load_outcomes: int
    workers_lost: int = 0
    waited: int = 0
    failures: int = 0
    fit_failures: int = 0
    alarms: tuple[Alarm, ...] = ()


@dataclass
class ForecastStatusRequest(Request[ForecastStatus]):
    """Did the forecasts come true?"""


@dataclass
class RecentLoadsRequest(Request[npt.NDArray[np.float64]]):
    """What would these links have carried up to until_s, as traffic is routed now?

    (n_links, samples) or fewer, NaN unknown.
    """

    links: tuple[LinkKey, ...]
    samples: int
    until_s: float


# recorder ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecorderStatus:
    """Whether what is measured and seen gets to the disk; dropped periods are counted since the start."""

    history_failing: bool = False
    history_dropped: int = 0
    fabric_unsaved: bool = False


@dataclass
class RecorderStatusRequest(Request[RecorderStatus]):
    """Does the disk take what is measured?"""


# stitcher ------------------------------------------------------------------------------------------------


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
    """All stitches, those that ended included while they are remembered."""


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
class CheckStitch(Request[Placement]):
    """Could this stitch be had now, and on which path? Raises NotPossible. Nothing is booked."""

    request: StitchRequest


@dataclass
class ChangeStitch(Request[Stitch]):
    """Give a stitch that is up other terms, for the same packets, without a gap.

    Raises LookupError when there is none of that id, BadTransition where it is not up, else as CreateStitch.
    """

    stitch_id: int
    request: VmRequest


@dataclass
class DeleteStitch(Request[Stitch]):
    """Take a stitch away. Raises LookupError when there is none of that id."""

    stitch_id: int


# intents -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntentsAnswer:
    """The intents as they are: the version, the document as it was given, and how each of them does, by name."""

    version: IntentVersion
    document: Mapping[str, Any]
    statuses: tuple[Status, ...]


@dataclass
class IntentsRequest(Request[IntentsAnswer]):
    """Which intents are there, and how do they do?"""


@dataclass
class IntentVersionsRequest(Request[tuple[IntentVersion, ...]]):
    """Which versions of the intents are there? The newest first."""


@dataclass(frozen=True, slots=True)
class IntentChange:
    """A change of the intents: of one where `only` names it, else of all that the caller may touch.

    document is what is to be, in the one case an intent (None takes it out), in the other a document; or that of a
    version. scope: the virtual networks that the caller is confined to. may_rule: whether the caller may change
    the policy.
    """

    document: object = None
    only: str | None = None
    version: int | None = None
    scope: frozenset[str] | None = None
    may_rule: bool = True


@dataclass(frozen=True)
class IntentOutcome:
    """What a change does: its plan, what there is to know beside it, and which parts could not be had, by reason.

    version is None where it was only asked. done: nothing is left to do but what could not be had.
    """

    plan: Plan
    notes: tuple[Note, ...] = ()
    refusals: Mapping[Key, str] = field(default_factory=dict)
    version: IntentVersion | None = None
    done: bool = True
    vnets: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass
class PlanIntents(Request[IntentOutcome]):
    """What would this change do? Raises IntentError, OutOfScope, and LookupError for what is not there."""

    change: IntentChange


@dataclass
class ApplyIntents(Request[IntentOutcome]):
    """Store this change, then make it so. Raises what PlanIntents does, and IntentsBusy.

    With atomic, what cannot be had undoes all of it and raises IntentsUndone.
    """

    change: IntentChange
    atomic: bool = False


class OutOfScope(PermissionError):
    """The caller may not touch this; the message says what."""


class IntentsBusy(RuntimeError):
    """Another change of the intents has to be through first."""


class IntentsUndone(RuntimeError):
    """A part could not be had, so that all of the change was undone."""


# installer -----------------------------------------------------------------------------------------------


@dataclass
class WantRules(Event):
    """From now on `owner` wants exactly these rules, per switch; the installer sends the difference."""

    owner: str
    rules: Mapping[int, RuleSet]


@dataclass
class ApplyStages(Event):
    """Carry out these stages in order, each confirmed by barriers before the next one starts.

    When all are confirmed, `rules` is what `owner` wants from then on. When a switch refuses or goes away, what
    was done is undone and `owner` keeps the rules it had. Between two stages it waits pause_s.
    """

    owner: str
    stages: tuple[Stage, ...]
    rules: Mapping[int, RuleSet]
    ticket: int = 0
    pause_s: float = 0.0


@dataclass
class StagesApplied(Event):
    """How the ApplyStages of this ticket ended: error is None, or names the switch and what it said."""

    owner: str
    ticket: int
    error: str | None
    rules_written: int


@dataclass
class SwitchReady(Event):
    """The rules of a switch have been read and put right; it can take part in stitches."""

    dpid: int


@dataclass(frozen=True)
class InstallerStatus:
    """Counts since the start, and switches that differ from what they should have."""

    rules_added: int
    rules_removed: int
    rules_kept: int
    errors: int
    ready: frozenset[int]
    differences: Mapping[int, Difference]


@dataclass
class InstallerStatusRequest(Request[InstallerStatus]):
    """How is the installer doing?"""


class NotReconciled(Exception):
    """A switch could not be compared or put right; the message names the switch and the reason."""


@dataclass(frozen=True)
class Reconciled:
    """What separated a switch, as it was read, from what it should have.

    right is how many entries were as they should be; those that are part of a change in progress are left out. The
    entries of others are counted and never touched. refused are those that the switch would not have put right.
    """

    dpid: int
    dry_run: bool
    difference: Difference
    right: int
    others_rules: int
    others_groups: int
    others_meters: int
    refused: tuple[str, ...] = ()


@dataclass
class Reconcile(Request[Reconciled]):
    """Read a switch and send it what differs; nothing, when dry_run. Raises NotReconciled."""

    dpid: int
    dry_run: bool = False


# what switches can do ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DatapathFacts:
    """What a switch said it can do; what it did not say, or has not, is 0, empty or None.

    watches_liveness: its groups know whether a port is live.
    """

    dpid: int
    tables: int
    software: str = ""
    meters: MeterFacts | None = None
    fast_failover_groups: int | None = None
    watches_liveness: bool = False


@dataclass
class Capabilities(Event):
    """A switch has said what it can do."""

    facts: DatapathFacts


@dataclass
class CapabilitiesRequest(Request[Mapping[int, DatapathFacts]]):
    """What can the connected switches do?"""


# ovsdb: there only with --ovsdb --------------------------------------------------------------------------


@dataclass
class LinkLiveness(Event):
    """BFD says that what is at the other end of this port is gone (alive False), or there again."""

    port: PortId
    alive: bool


@dataclass
class WantQueues(Event):
    """From now on `owner` wants these queues, per port; a port that is not named has none of that owner.

    A port is one owner's: where two name it, the first by name has it.
    """

    owner: str
    ports: Mapping[PortId, PortQueues]


@dataclass
class QueuesChanged(Event):
    """What enforces the queues of each wanted port is not what it was; by port and queue number."""

    enforced: Mapping[tuple[PortId, int], Choice]


@dataclass
class QueueFactsRequest(Request[QueueFacts]):
    """What is known of queues on this port? `stitching.enforcement.choose` says what follows from it."""

    port: PortId
    dscp: bool = True


@dataclass
class SetOvsdb(Request[int]):
    """Use these OVSDB servers from now on; answers how many are new. Raises ValueError for a bad address."""

    remotes: tuple[str, ...]


@dataclass(frozen=True)
class OvsdbStatus:
    """How it goes. servers: whether each answers. up, coming_up: BFD sessions by port; dead are those that failed.

    unprotected: fabric ports without BFD, and why. left_alone: ports with somebody else's QoS.
    """

    servers: Mapping[str, bool]
    up: frozenset[PortId]
    dead: frozenset[PortId]
    unprotected: Mapping[PortId, str]
    left_alone: frozenset[PortId]
    enforced: Mapping[tuple[PortId, int], Choice]
    errors: int
    last_error: str


@dataclass
class OvsdbStatusRequest(Request[OvsdbStatus]):
    """How goes it with the databases of the switches?"""
