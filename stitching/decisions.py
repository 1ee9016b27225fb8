"""What the trigger decides, on what, and by which policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forecasting import Forecast
from stitching.network import LinkKey
from stitching.plan import Situation
from stitching.routes import Pair, Route
from stitching.stitch import Stitch, StitchPath, VmRequest

ORIGIN = "trigger"
"""The origin of stitches that were made, and may be taken away again, by the trigger."""


@dataclass(frozen=True, slots=True)
class TriggerPolicy:
    """When to act. Shares are of link capacity; release_share < share is the hysteresis in load, hold_s in time.

    margin_share: how far below `share` every link of a new path must stay, so that it is not hot next.
    least_share: demands below this share of the link are not worth a stitch.
    hop_cost: what a move must gain, in idle hops of its demand, before it is made.
    steps: how many steps of the forecast are looked at. A stitch takes one; what is far off is mostly spread.
    resize_share: a promise follows its demand when the two differ by more than this share.
    """

    share: float = 0.9
    probability: float = 0.3
    release_share: float = 0.63
    hold_s: float = 30.0
    margin_share: float = 0.03
    least_share: float = 0.005
    hop_cost: float = 2.0
    steps: int = 2
    resize_share: float = 0.2
    most_per_round: int = 12


@dataclass(frozen=True, slots=True)
class Establish:
    """Take this demand off a link that is about to be full."""

    request: VmRequest
    path: StitchPath
    probability: float


@dataclass(frozen=True, slots=True)
class Reroute:
    """Put a stitch of ours on another path: its own is about to be full."""

    stitch_id: int
    bandwidth_mbps: float
    path: StitchPath
    relieves: LinkKey
    probability: float


@dataclass(frozen=True, slots=True)
class Resize:
    """Promise a stitch of ours as much as its demand is expected to need now. Its path stays."""

    stitch_id: int
    bandwidth_mbps: float


@dataclass(frozen=True, slots=True)
class Release:
    """The shortest way has had room for this stitch for long enough."""

    stitch_id: int


@dataclass(frozen=True, slots=True)
class NoRelief:
    """A link is about to be full, and moving any demand off it would only make things worse elsewhere."""

    link: LinkKey
    probability: float


Decision = Resize | Establish | Reroute | Release | NoRelief


@dataclass(frozen=True)
class Prospect:
    """What decisions are made on; names are in the order of `links` and `pairs`.

    The forecasts are of the links as traffic is routed now and of every demand, in Mbit/s. routes are the shortest
    ways, without stitches.
    """

    links: tuple[LinkKey, ...]
    link_forecast: Forecast
    pairs: tuple[Pair, ...]
    demand_forecast: Forecast
    routes: Mapping[Pair, Route]
    stitches: tuple[Stitch, ...]
    situation: Situation
