"""What the predictor tells: what is expected, what came as a surprise, and whether forecasts came true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasting import Forecast
from ryu_apps.app import Event, Request
from ryu_apps.events.rates import Pair
from stitching.network import LinkKey


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
