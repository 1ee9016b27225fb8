"""Demands of the last weeks, read back from the database: in a process of its own, as that takes a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ryu_apps.predicting.scope import Scope

if TYPE_CHECKING:
    from stitching.routes import Pair

BUDGET_S = 60.0
"""What has not been read by then is done without. Two weeks of 500 demands take about that on one core."""

_PART = 12
"""Steps that are read at a time: a row of the database is a minute of one demand, and takes 300 bytes."""

_MINUTE_S = 60.0


@dataclass(frozen=True)
class Past:
    """Demands (n, T) in Mbit/s on an even clock, NaN where not measured; the last column ends at last_s."""

    last_s: float
    pairs: tuple[Pair, ...]
    values: npt.NDArray[np.float64]


def recall(url: str, scope: Scope, now_s: float, clock: Callable[[], float] = time.monotonic) -> Past | None:
    """Read what `scope` keeps from the database at `url`, newest first; None where there is nothing of that time.

    Of too many demands those that have sent most lately are read. Raises StoreError.
    """
    # Here: a process that only forecasts does without SQLAlchemy.
    from ryu_apps.predicting.demand_history import pairs_of
    from ryu_apps.store import HistoryStore, SeriesKind

    until_s = clock() + BUDGET_S
    store = HistoryStore(url)
    try:
        newest_s = store.newest_s(now_s)
        if newest_s is None or newest_s <= now_s - scope.kept_s:
            return None
        # Stored demands are means of whole minutes.
        last_s = _MINUTE_S * math.ceil(newest_s / _MINUTE_S)
        rows: dict[Pair, int] = {}
        values = np.full((scope.most_pairs, scope.kept), np.nan)
        end = scope.kept
        while end > 0 and (end == scope.kept or clock() < until_s):
            start = max(0, end - _PART)
            since_s, to_s = (last_s - scope.step_s * (scope.kept - column) for column in (start, end))
            _, keys, part = store.read_panel(SeriesKind.DEMAND, since_s, scope.step_s, to_s, scope.most_pairs)
            for pair, row in zip(pairs_of(keys), part, strict=True):
                if pair in rows or len(rows) < scope.most_pairs:
                    values[rows.setdefault(pair, len(rows)), start:end] = row
            end = start
    finally:
        store.close()
    if not rows:
        return None
    known = np.isfinite(values[: len(rows)])
    return Past(last_s, tuple(rows), values[: len(rows), int(np.argmax(known.any(axis=0))) :])
