"""Fan charts and reliability as pictures: .png, .svg or .pdf, by the name of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from forecasting import scores
from forecasting.backtest import BacktestResult
from forecasting.evaluation import SCORED_LEVELS, Issued
from ryu_apps.forecasts.clock import FloatArray
from ryu_apps.forecasts.fan import Fan, fan_of, time_unit

DPI = 130
INK, TRUE, MIDDLE, BAND, LAST = "#333333", "#111111", "#d95f02", "#1f78b4", "#888888"
MOST_SERIES = 3

# Forecasts that are drawn of one series, and how much of what was before them.
_FANS, _FANS_APART, _PAST_HORIZONS = 4, 2, 2
_LEAST_PAST = 24
# Central intervals whose ends are kept.
_NOMINAL = (0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 0.95)


def fan_picture(path: Path, fan: Fan) -> None:
    """Draw one forecast with the samples before it to `path`. Raises OSError."""
    figure = _figure(9.0, 3.6)
    axes = figure.add_subplot()
    unit_s, unit = time_unit(max(fan.history.size, fan.median.size) * fan.step_s)
    _fan(axes, fan, 0, fan.step_s / unit_s, labelled=True)
    axes.plot(fan.past_steps * fan.step_s / unit_s, fan.history, color=TRUE, lw=1.2, label="measured")
    if fan.actual.size:
        at = fan.coming_steps[: fan.actual.size] * fan.step_s / unit_s
        axes.plot(at, fan.actual, color=TRUE, lw=1.2, ls=":", label="came true")
    _finish(axes, fan.title, f"{unit} from now", fan.unit)
    axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=2)
    figure.savefig(path)


def draw_backtest(path: Path, result: BacktestResult, title: str) -> None:
    """Draw forecasts of up to three series from a few origins, and nominal against measured coverage, to `path`.

    The series are the largest one, the one of median error (MASE at the last step) and the one that is worst
    against last value; the origins are the last ones of the test. Raises OSError.
    """
    chosen = chosen_series(result)
    figure = _figure(13.0, 1.2 + 2.5 * max(len(chosen), 1.6))
    grid = figure.add_gridspec(len(chosen), 2, width_ratios=(2.4, 1.0))
    for place, (row, why) in enumerate(chosen):
        axes = figure.add_subplot(grid[place, 0])
        _forecasts(axes, result, row, f"{result.panel.names[row]}{why}", labelled=place == 0)
    _reliability(figure.add_subplot(grid[:, 1]), result)
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left", parse_math=False)
    figure.savefig(path)


def chosen_series(result: BacktestResult) -> list[tuple[int, str]]:
    """Say which rows are drawn, and why, in brackets."""
    size = np.nan_to_num(scores.mean_size(result.actual)[:, -1])
    order = [(int(np.argmax(size)), "the largest")]
    error, ratio = result.scores.mase[:, -1], result.ratio_to_last()[:, -1]
    known = np.flatnonzero(np.isfinite(error))
    if known.size:
        middle = known[np.argsort(error[known], kind="stable")[known.size // 2]]
        order.append((int(middle), "of median error"))
    if np.isfinite(ratio).any():
        order.append((int(np.nanargmax(ratio)), "worst against last value"))
    rows: dict[int, str] = {}
    for row, why in order:
        rows[row] = f"{rows[row]}, {why}" if row in rows else why
    if len(result.panel.names) == 1:
        return [(0, "")]
    return [(row, f" ({why})") for row, why in rows.items()][:MOST_SERIES]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _forecasts(axes: Axes, result: BacktestResult, row: int, title: str, *, labelled: bool) -> None:
    panel, horizon = result.panel, result.plan.horizon
    places = _apart(result.origins, _FANS_APART * horizon)[-_FANS:]
    past = max(_PAST_HORIZONS * horizon, _LEAST_PAST)
    first = max(0, int(result.origins[places[0]]) - past)
    stop = int(result.origins[places[-1]]) + horizon + 1
    unit_s, unit = time_unit((stop - first) * panel.step_s)
    scale = panel.step_s / unit_s
    for number, place in enumerate(places):
        origin = int(result.origins[place])
        quantiles = result.issued.quantiles[row, place].T
        fan = fan_of(title, panel.step_s, panel.values[row, origin : origin + 1], SCORED_LEVELS, quantiles)
        _fan(axes, fan, origin - first, scale, labelled=labelled and number == 0)
    shown = panel.values[row, first:stop]
    axes.plot(scale * np.arange(shown.size), shown, color=TRUE, lw=1.0, label="came true" if labelled else None)
    start = np.datetime_as_string(np.datetime64(int(panel.times[first]), "s"))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(y=0.14)
    _finish(axes, title, f"{unit} from {start} UTC", "")
    if labelled:
        axes.legend(loc="upper left", fontsize=7.5, frameon=False, ncols=5)


def _apart(origins: np.ndarray[tuple[int, ...], np.dtype[np.int64]], least: int) -> list[int]:
    """Places of origins at least so many steps from each other, counted from the last one."""
    chosen = [origins.size - 1]
    for place in range(origins.size - 2, -1, -1):
        if origins[chosen[-1]] - origins[place] >= least:
            chosen.append(place)
    return chosen[::-1]


def _fan(axes: Axes, fan: Fan, now: int, scale: float, *, labelled: bool) -> None:
    """Bands and median, joined to the last sample where there is one."""
    known = fan.history[-1:] if fan.history.size and np.isfinite(fan.history[-1]) else np.zeros(0)
    at = scale * (now + np.concatenate([np.zeros(known.size), fan.coming_steps]))
    for number, (level, (low, high)) in enumerate(fan.bands.items()):
        axes.fill_between(
            at,
            np.concatenate([known, low]),
            np.concatenate([known, high]),
            color=BAND,
            alpha=0.18 + 0.1 * number,
            lw=0,
            label=f"{level:.0%}" if labelled else None,
        )
    median = np.concatenate([known, fan.median])
    axes.plot(at, median, color=MIDDLE, lw=1.2, label="median" if labelled else None)


def _reliability(axes: Axes, result: BacktestResult) -> None:
    """Draw how much the intervals hold against how much they say they do: medians over series."""
    axes.plot((0, 1), (0, 1), color=LAST, lw=0.8, ls="--")
    steps = {0: "first step", result.plan.horizon - 1: "last step"}
    for step, marker in zip(steps, ("o", "s"), strict=False):
        for issued, colour, who in ((result.issued, BAND, "forecast"), (result.last_issued, LAST, "last value")):
            measured = _measured(result.actual, issued, step)
            axes.plot(_NOMINAL, measured, color=colour, marker=marker, ms=4, lw=1.0, label=f"{who}, {steps[step]}")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _finish(axes, "reliability", "interval said to hold", "share that it held (median over series)")
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def _measured(actual: FloatArray, issued: Issued, step: int) -> list[float]:
    return [
        float(scores.median_over_series(scores.coverage(actual, *issued.interval(level)))[step])
        for level in _NOMINAL
    ]


def _finish(axes: Axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, fontsize=9, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(below, fontsize=8, color=INK)
    axes.set_ylabel(beside, fontsize=8, color=INK, parse_math=False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
