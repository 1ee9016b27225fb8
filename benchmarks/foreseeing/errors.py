"""How far forecasts are off, how wide their intervals have to be, and whether they hold: on every data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from benchmarks.foreseeing.data import NETWORKS, SINGLE, DataSet, abilene_flows, abilene_links
from benchmarks.foreseeing.judge import AREA, Extremes, judge, median_ratio, say, score_figure, shown_steps
from benchmarks.foreseeing.pool import say_members
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from forecasting import ALL_MEMBERS, MEMBERS, ForecastingError
from forecasting.backtest import BacktestResult

_STEPS = (1, 12)
_MASE: Mapping[str, tuple[float, float]] = {"flows": (1.05, 1.78), "links": (0.96, 1.58)}
_WINKLER: Mapping[str, float] = {"flows": 0.90, "links": 0.75}

# The horizon that stitches are made on.
_HOUR_S = 3600.0


def abilene() -> Iterator[Figure]:
    """Abilene, fitted to week 1, judged in week 2: MASE a step and an hour ahead, Winkler score an hour ahead."""
    yield from _abilene("", MEMBERS)


def abilene_neural() -> Iterator[Figure]:
    """The same with LSTM and GRU in the pool."""
    yield from _abilene("_neural", ALL_MEMBERS)


def every_set() -> Iterator[Figure]:
    """Coverage and the error beside that of last value: extremes over all data sets and steps ahead.

    Scores are medians over the series of a set, and the worst day is one of all its series together. The figures
    of an hour are over the steps up to an hour ahead (of sets in steps of an hour and above, the first step).
    """
    c80, c95, ratio, day = Extremes(), Extremes(), Extremes(), Extremes()
    near80, near95, near_day, near_ratio = Extremes(), Extremes(), Extremes(), Extremes()
    for name, make in {**NETWORKS, **SINGLE}.items():
        found = make()
        result = _judged(name, MEMBERS)
        say(found, result)
        medians = result.scores.medians()
        steps = max(1, min(found.horizon, round(_HOUR_S / found.panel.step_s)))
        for far, near, score in (
            (c80, near80, medians["coverage_80"]),
            (c95, near95, medians["coverage_95"]),
            (day, near_day, medians["worst_day_pooled"]),
        ):
            far.add(name, score)
            near.add(name, score[:steps])
        if name in SINGLE:
            ratio.add(name, median_ratio(result))
            near_ratio.add(name, median_ratio(result)[:steps])
    for where, eighty, ninety_five, worst, against in (
        ("", c80, c95, day, ratio),
        ("_hour", near80, near95, near_day, near_ratio),
    ):
        yield from eighty.figures((f"coverage80_least{where}", 0.77), (f"coverage80_most{where}", 0.83))
        yield from ninety_five.figures((f"coverage95_least{where}", 0.93), (f"coverage95_most{where}", 0.97))
        yield from worst.figures((f"coverage95_worst_day{where}", 0.85), None)
        yield from against.figures(None, (f"error_to_last_most{where}", 1.02))


def pool() -> Iterator[Figure]:
    """How far the blend is above its best member at most, over sets and a few steps ahead; networks in Abilene."""
    worst = -np.inf
    for name, make in {**NETWORKS, **SINGLE}.items():
        found = make()
        members = ALL_MEMBERS if name.startswith("abilene") else MEMBERS
        steps = shown_steps(found)
        blend = median_ratio(_judged(name, members))[np.asarray(steps) - 1]
        above = say_members(found, blend, members[1:], steps)
        note(f"{found.name}: the blend is {above:.3f} of the best at most")
        worst = max(worst, above)
    yield Figure("blend_to_best_member", AREA, worst, "", Better.LESS)


def _abilene(suffix: str, members: Sequence[str]) -> Iterator[Figure]:
    for kind, found in (("flows", abilene_flows()), ("links", abilene_links())):
        result = _judged(f"abilene_{kind}", tuple(members))
        say(found, result)
        for step, target in zip(_STEPS, _MASE[kind], strict=True):
            yield score_figure(f"abilene_{kind}_mase_{step}{suffix}", result, "mase", step, target)
        name = f"abilene_{kind}_winkler95_{_STEPS[-1]}{suffix}"
        yield score_figure(name, result, "winkler95", _STEPS[-1], _WINKLER[kind])


@cache
def _judged(name: str, members: tuple[str, ...]) -> BacktestResult:
    """Abilene is asked for twice."""
    found: DataSet = {**NETWORKS, **SINGLE}[name]()
    try:
        return judge(found, members)
    except ForecastingError as error:
        raise MeasurementFailed(f"{name}: {error}") from error
