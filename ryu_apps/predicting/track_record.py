"""How the forecasts of one outlook did: which came true, and what nobody would have expected."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ryu_apps.events import Alarm, ForecastStatus, Outlook
from ryu_apps.predicting.forecast_worker import Surprise
from ryu_apps.predicting.outcomes import Outcomes

DEMANDS, LOADS = "demands", "loads"

ALARMS_KEPT = 20


class TrackRecord:
    """Keeps the newest outlook until what it says of the next steps is measured."""

    def __init__(self) -> None:
        self.outlook: Outlook | None = None
        self.workers_lost = 0
        self._beat: int | None = None
        self._alarms: deque[Alarm] = deque(maxlen=ALARMS_KEPT)
        self._outcomes = {DEMANDS: Outcomes(), LOADS: Outcomes()}

    def expect(self, outlook: Outlook, beat: int) -> None:
        """From now on outcomes are of this outlook, which was made at `beat`."""
        self.outlook, self._beat = outlook, beat

    def alarm(self, kind: str, surprises: Iterable[Surprise]) -> tuple[Alarm, ...]:
        """Note samples that nobody would have expected."""
        alarms = tuple(Alarm(one.time_s, kind, one.name, one.bits) for one in surprises)
        self._alarms.extend(alarms)
        return alarms

    def steps_since(self, beat: int) -> int | None:
        """How many steps after the outlook `beat` is; None where it says nothing of that."""
        if self.outlook is None or self._beat is None:
            return None
        step = beat - self._beat
        return step if 1 <= step <= self.outlook.demands.mean.shape[1] else None

    def count(self, kind: str, step: int, values: npt.NDArray[np.float64]) -> None:
        """Take in what was measured, (n,), `step` steps after the outlook."""
        assert self.outlook is not None
        forecast = self.outlook.demands if kind == DEMANDS else self.outlook.links
        self._outcomes[kind].count(forecast, step, values)

    def status(self, waited: int, failures: int, fit_failures: int) -> ForecastStatus:
        """Sum it up; see ForecastStatus."""
        demands, loads = self._outcomes[DEMANDS], self._outcomes[LOADS]
        return ForecastStatus(
            demands.shares(),
            demands.total,
            loads.shares(),
            loads.total,
            self.workers_lost,
            waited,
            failures,
            fit_failures,
            tuple(self._alarms),
        )
