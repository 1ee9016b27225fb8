"""What the process that forecasts is told of: every demand, and the loads that demands make on today's links."""

from __future__ import annotations

from forecasting import Panel, Parameters
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.forecast_worker import Feed, News
from ryu_apps.predicting.foresight import link_names, pair_names
from ryu_apps.predicting.todays_routes import TodaysRoutes
from ryu_apps.predicting.track_record import DEMANDS, LOADS
from stitching.network import LinkKey
from stitching.routes import Pair


class Feeding:
    """Keeps what has to be told in step with the history and the routes. `pairs` are those it is about by now."""

    def __init__(self, history: DemandHistory, routes: TodaysRoutes, step_s: float) -> None:
        self._history, self._routes, self._step_s = history, routes, step_s
        self.pairs: tuple[Pair, ...] = ()
        self._links: tuple[LinkKey, ...] = ()
        self.demands, self.loads = Feed(), Feed()

    def take_in(self, time_s: float) -> None:
        """Have the forecasts moved on, or begun anew where what they are about has become something else."""
        pairs, newest = self._history.pairs, self._history.newest()
        # The first sample of a new demand is no surprise to anybody.
        judge_newest = pairs == self.pairs
        if pairs != self.pairs:
            self.pairs = pairs
            self.demands.begin(self._panel())
            self._routes.changed = True
        else:
            self.demands.add(time_s, newest)
        if self._routes.changed or self._routes.links != self._links:
            self._links = self._routes.links
            self.loads.begin(self._load_panel(), judge_newest=judge_newest)
        else:
            self.loads.add(time_s, self._routes.loads(newest, pairs, self._links))

    def begin_anew(self) -> None:
        """Whoever was told is gone: tell the next one all there is."""
        self.demands.begin(self._panel())
        self.loads.begin(self._load_panel())

    def forget(self) -> None:
        """What was told is of another clock: begin anew with the next sample."""
        self.pairs, self._links = (), ()

    def news(self) -> dict[str, News]:
        """Give what is new; it counts as told."""
        return {DEMANDS: self.demands.take(), LOADS: self.loads.take()}

    def panels(self) -> tuple[Panel, Panel] | None:
        """Give demands and loads to fit to; None where there are no links yet."""
        return (self._panel(), self._load_panel()) if self._links else None

    def fitted(self, *parameters: Parameters) -> None:
        """From now on with these, of demands and of loads."""
        demands, loads = parameters
        self.demands.fitted(demands)
        self.loads.fitted(loads)

    def _panel(self) -> Panel:
        times, values = self._history.matrix()
        return Panel(times, values, pair_names(self._history.pairs), self._step_s)

    def _load_panel(self) -> Panel:
        times, values = self._history.matrix()
        loads = self._routes.loads(values, self._history.pairs, self._links)
        return Panel(times, loads, link_names(self._links), self._step_s)
