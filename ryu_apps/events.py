"""Everything the apps tell or ask each other. A counter goes round the ring in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forecasting import Forecast
from ryu_apps.app import Event, Request
from stitching.difference import Difference, Stage
from stitching.network import LinkKey, Network, PortId
from stitching.rules import RuleSet
from stitching.stitch import Placement, State, Stitch, StitchRequest
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
class CheckStitch(Request[Placement]):
    """Could this stitch be had now, and on which path? Raises NotPossible. Nothing is booked."""

    request: StitchRequest


@dataclass
class DeleteStitch(Request[Stitch]):
    """Take a stitch away. Raises LookupError when there is none of that id."""

    stitch_id: int


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
