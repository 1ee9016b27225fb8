"""Whether time and memory a series stay what they are from 100 to 10,000 series, each size in its own process.

Series are Abilene's flows at other times and in other sizes. They have half a day of five minutes, so that
10,000 fits end within minutes: there is a daily term in none, and a fit costs less than one of a week.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from benchmarks.foreseeing.data import all_flows
from benchmarks.foreseeing.judge import AREA
from benchmarks.support.figure import Better, Figure, note
from forecasting import Forecaster, Panel

_SIZES = (100, 1_000, 10_000)
_POINTS, _PERIODS, _HORIZON = 144, 5, 12
_FLAT = 1.2
_SEED = 20040301


class Cost(NamedTuple):
    """What one series costs: CPU time of a fit and of a period, and memory at its peak."""

    fit_s: float
    period_s: float
    memory_kb: float


def size() -> Iterator[Figure]:
    """Costs a series at 10,000 series, beside those at 100; flat is no more than a fifth above."""
    costs = {}
    for n in _SIZES:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
            costs[n] = executor.submit(cost, n).result()
        note(
            f"size: series={n} fit_ms={1e3 * costs[n].fit_s:.2f} period_us={1e6 * costs[n].period_s:.1f} "
            f"memory_kb={costs[n].memory_kb:.0f}, each a series"
        )
    few, many = costs[_SIZES[0]], costs[_SIZES[-1]]
    for name, unit, factor in (("fit_s", "ms", 1e3), ("period_s", "us", 1e6), ("memory_kb", "kB", 1.0)):
        then, now = factor * getattr(few, name), factor * getattr(many, name)
        what = name.partition("_")[0]
        yield Figure(f"size_{what}", AREA, now, unit, Better.LESS, round(_FLAT * then, 3), "100 series", then)


def cost(n: int) -> Cost:
    """Fit `n` series and forecast some periods; runs in a process of its own."""
    panel = _panel(n)
    first = Panel(panel.times[:_POINTS], panel.values[:, :_POINTS], panel.names, panel.step_s)
    # What is imported on first use is no series' cost.
    Forecaster(_HORIZON).fit(first.rows(slice(0, 2)))
    base_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forecaster = Forecaster(_HORIZON)
    before_s = time.process_time()
    forecaster.fit(first)
    fitted_s = time.process_time()
    for at in range(_POINTS, _POINTS + _PERIODS):
        forecaster.update(panel.times[at : at + 1], panel.values[:, at : at + 1])
        forecaster.predict()
    ended_s = time.process_time()
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base_kb
    return Cost((fitted_s - before_s) / n, (ended_s - fitted_s) / n / _PERIODS, grown_kb * 1.024 / n)


def _panel(n: int) -> Panel:
    flows = all_flows()
    random = np.random.default_rng(_SEED)
    points = _POINTS + _PERIODS
    rows = random.integers(len(flows.names), size=n)
    starts = random.integers(flows.times.size - points, size=n)
    values = flows.values[rows[:, None], starts[:, None] + np.arange(points)]
    values *= random.lognormal(sigma=1.0, size=(n, 1))
    return Panel(flows.times[:points], values, tuple(map(str, range(n))), flows.step_s)
