"""Back-tests as tables for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from forecasting import scores
from forecasting.backtest import BacktestResult, Spent
from forecasting.evaluation import Scores
from ryu_apps import shown
from ryu_apps.forecasts.clock import FloatArray

WORSE = 1.02
"""A mean absolute error this much above that of last value is worse, not as good."""
LEAST_A_DAY = 20
"""Of fewer outcomes the share inside an interval of 95 % says nothing of a day."""

_RATIOS = "error / last value's: the median of each series' own ratio, not the ratio of the medians above it"
_MANY = 100
_ROWS = (
    ("mase", "MASE"),
    ("nmae", "NMAE"),
    ("nrmse", "NRMSE"),
    ("coverage_50", "coverage 50 %"),
    ("coverage_80", "coverage 80 %"),
    ("coverage_90", "coverage 90 %"),
    ("coverage_95", "coverage 95 %"),
    ("worst_day", "worst day at 95 %"),
    ("winkler95", "Winkler 95 % / mean"),
    ("pinball", "pinball / mean"),
)


@dataclass(frozen=True)
class Used:
    """How many scheduled events were given, and how many of them lie within the time of the file."""

    events: int = 0
    within: int = 0


def backtest(result: BacktestResult, notes: Sequence[str], used: Used | None = None) -> list[RenderableType]:
    """Medians over series at the first and the last step, last value beside them; the time; notes on the file."""
    used = used or Used()
    horizon, step_s = result.plan.horizon, result.panel.step_s
    own, last = _medians(result, result.scores), _medians(result, result.last_scores)
    steps = [0] if horizon == 1 else [0, horizon - 1]
    table = Table(title=escape(_title(result, used)), title_justify="left")
    table.add_column("median over series")
    for step in steps:
        table.add_column(f"{duration((step + 1) * step_s)} ahead", justify="right")
        table.add_column("last value", justify="right", style="dim")
    for key, name in _ROWS:
        cells = [_number(scored[key][step]) for step in steps for scored in (own, last)]
        table.add_row(escape(name), *cells)
    ratio = result.ratio_to_last()
    table.add_section()
    shares = [(_at(scores.median_over_series(ratio), step), "1.000") for step in steps]
    table.add_row("error / last value's", *(cell for pair in shares for cell in pair))
    table.add_row(
        f"series worse by {100 * (WORSE - 1):.0f} %",
        *(cell for step in steps for cell in (f"{np.count_nonzero(ratio[:, step] > WORSE)}", "")),
    )
    if len(result.panel.names) > 1:
        table.caption, table.caption_justify = _RATIOS, "left"
    return [table, _times(result), *shown.notes((*_own_notes(result, used), *notes))]


def backtest_json(
    result: BacktestResult, notes: Sequence[str], settings: dict[str, Any], used: Used | None = None
) -> dict[str, Any]:
    """Everything that was measured, at every step; numbers that there are none for are null."""
    ratio = result.ratio_to_last()
    return {
        "settings": settings,
        "series": len(result.panel.names),
        "points": int(result.panel.times.size),
        "step_s": result.panel.step_s,
        "train_steps": result.plan.train_steps,
        "horizon": result.plan.horizon,
        "every": result.plan.every,
        "origins": int(result.origins.size),
        "fits": result.fits,
        "medians": {
            "forecast": _lists(_medians(result, result.scores)),
            "last_value": _lists(_medians(result, result.last_scores)),
            "ratio_to_last": _list(scores.median_over_series(ratio)),
        },
        "seconds": {
            clock: {kind: _finite(getattr(spent, f"{kind}_s")) for kind in ("fit", "update", "predict")}
            for clock, spent in (("cpu", result.cpu), ("wall", result.wall))
        },
        "by_series": [
            {
                "name": name,
                "mase": _list(result.scores.mase[row]),
                "nmae": _list(result.scores.nmae[row]),
                "nrmse": _list(result.scores.nrmse[row]),
                "winkler95": _list(result.scores.winkler95[row]),
                "pinball": _list(result.scores.pinball[row]),
                "coverage_95": _list(result.scores.coverage[0.95][row]),
                "ratio_to_last": _list(ratio[row]),
            }
            for row, name in enumerate(result.panel.names)
        ],
        "notes": [*_own_notes(result, used or Used()), *notes],
    }  # fmt: skip


def one_line(result: BacktestResult) -> str:
    """What to write above a picture of it."""
    own, last = result.scores.medians()["mase"], result.last_scores.medians()["mase"]
    return f"{_title(result)}: MASE {_at(own, -1)} at the last step, last value {_at(last, -1)}"


def duration(seconds: float) -> str:
    """A time as people say it: 1 h, 90 min, 42.8 d."""
    units = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
    whole = next((unit for unit in units if seconds >= unit[0] and (seconds / unit[0]).is_integer()), None)
    large = next((unit for unit in units if seconds >= 2 * unit[0]), units[-1])
    # Many of a small unit say less than a fraction of a large one.
    unit_s, name = whole if whole is not None and seconds / whole[0] < _MANY else large
    return f"{seconds / unit_s:.3g} {name}"


def _medians(result: BacktestResult, scored: Scores) -> dict[str, FloatArray]:
    """Medians over series; unknown where days are of too few outcomes for a worst one."""
    medians = scored.medians()
    for key, a_day in (
        ("worst_day", result.origins_a_day),
        ("worst_day_pooled", result.origins_a_day * len(result.panel.names)),
    ):
        if a_day < LEAST_A_DAY:
            medians[key] = np.full(result.plan.horizon, np.nan)
    return medians


def _own_notes(result: BacktestResult, used: Used) -> list[str]:
    notes = []
    if used.within < used.events:
        notes.append(f"{used.within} of {used.events} events lie in the file's time")
    if result.origins_a_day < LEAST_A_DAY:
        notes.append(
            f"a worst day takes {LEAST_A_DAY} forecasts a day, here are {result.origins_a_day}; "
            "forecast more often (--every)"
        )
    return notes


def _title(result: BacktestResult, used: Used | None = None) -> str:
    panel, plan = result.panel, result.plan
    trained = duration(plan.train_steps * panel.step_s)
    tested = duration((panel.times.size - plan.train_steps) * panel.step_s)
    names = panel.names[0] if len(panel.names) == 1 else f"{len(panel.names)} series"
    refitted = f", refitted every {duration(plan.refit_every * panel.step_s)}" if plan.refit_every else ""
    events = f", {used.within} events" if used is not None and used.events else ""
    return f"{names}, trained on {trained}{refitted}, {result.origins.size} forecasts over {tested}{events}"


def _times(result: BacktestResult) -> str:
    n = len(result.panel.names)
    cpu, wall = (_spent(spent, n) for spent in (result.cpu, result.wall))
    fit = "Fit" if result.fits == 1 else f"{result.fits} fits"
    return (
        f"{fit} {cpu[0]} CPU a series ({wall[0]} passed); "
        f"update and predict {cpu[1]} CPU for all {n} ({wall[1]} passed)"
    )


def _spent(spent: Spent, n_series: int) -> tuple[str, str]:
    return f"{spent.fit_s / n_series:.3g} s", f"{1000 * (spent.update_s + spent.predict_s):.3g} ms"


def _at(values: FloatArray, step: int) -> str:
    return _number(values[step])


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else shown.UNKNOWN


def _lists(by_name: dict[str, FloatArray]) -> dict[str, list[float | None]]:
    return {name: _list(values) for name, values in by_name.items()}


def _list(values: FloatArray) -> list[float | None]:
    return [_finite(value) for value in np.ravel(values).tolist()]


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
