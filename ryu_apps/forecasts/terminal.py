"""A fan chart in the terminal. Bands differ by their characters, so that it reads without colour too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotext

from ryu_apps.forecasts.clock import FloatArray
from ryu_apps.forecasts.fan import Fan, time_unit

WIDTH, HEIGHT = 80, 20

_BAND_LOOKS = {0.95: ("·", 67), 0.8: ("░", 67), 0.5: ("▒", 25)}
_MEDIAN_LOOK = ("━", 208)
_HISTORY_LOOK = ("hd", "default")
_ACTUAL_LOOK = ("hd", 34)
# Points drawn a column: enough that a band has no holes, wherever its columns begin.
_DENSITY = 1.5
_TICKS = 7
# What is larger is no rate, and plotext's labels would take the whole width.
_SHOWN_MAX = 1e15


def fan_chart(fan: Fan, *, width: int = WIDTH, height: int = HEIGHT, colour: bool = False) -> str:
    """Draw `fan` as text of `width` columns and about `height` lines; `colour` adds escape codes of a terminal.

    Not for two threads at once: plotext has one figure.
    """
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.legend(False)
    figure.plot_size(width, height)
    scale_s, unit = time_unit(max(fan.history.size, fan.median.size) * fan.step_s)
    past, coming = (
        np.asarray(steps * (fan.step_s / scale_s), dtype=np.float64)
        for steps in (fan.past_steps, fan.coming_steps)
    )
    for level, (low, high) in fan.bands.items():
        _area(past, fan, coming, low, high, _BAND_LOOKS[level], (width, height))
    _line(coming, fan.median, _MEDIAN_LOOK)
    _line(past, fan.history, _HISTORY_LOOK)
    _line(coming[: fan.actual.size], fan.actual, _ACTUAL_LOOK)
    figure.title(fan.title)
    ticks = _ticks(float(past[0]) if past.size else 0.0, float(coming[-1]))
    figure.ruler("x").ticks(ticks, ["now" if tick == 0 else f"{tick:+g}" for tick in ticks])
    drawn = figure.build().string(colorless=not colour)
    figure.clear()
    lines = [line.rstrip() if not colour else line for line in drawn.rstrip("\n").split("\n")]
    return "\n".join([*lines, _legend(fan, unit)])


def _area(
    past: FloatArray,
    fan: Fan,
    coming: FloatArray,
    low: FloatArray,
    high: FloatArray,
    look: tuple[str, int],
    size: tuple[int, int],
) -> None:
    """Fill between two curves; they start at what is known now."""
    now = float(fan.history[-1]) if past.size and np.isfinite(fan.history[-1]) else math.nan
    start = [] if math.isnan(now) else [(0.0, now, now)]
    known = [*start, *zip(coming.tolist(), _shown(low), _shown(high), strict=True)]
    at, bottom, top = (np.array(column) for column in zip(*known, strict=True))
    columns = size[0] * (at[-1] - at[0]) / (at[-1] - min(at[0], past[0] if past.size else at[0]) + 1e-12)
    across = np.linspace(at[0], at[-1], max(2, math.ceil(_DENSITY * columns)))
    up = np.linspace(0.0, 1.0, size[1] + 1)
    floor, ceiling = np.interp(across, at, bottom), np.interp(across, at, top)
    points = floor[:, None] + (ceiling - floor)[:, None] * up
    _draw(np.repeat(across, up.size), points.ravel(), look)


def _line(at: FloatArray, values: FloatArray, look: tuple[str, object]) -> None:
    """Draw what is known of a curve, with holes where it is not."""
    known = np.isfinite(values)
    for run in np.split(np.arange(values.size), np.flatnonzero(np.diff(known)) + 1):
        if run.size and known[run[0]]:
            _draw(at[run], np.array(_shown(values[run])), look, joined=True)


def _draw(at: FloatArray, values: FloatArray, look: tuple[str, object], *, joined: bool = False) -> None:
    signal = plotext.figure.signal(at.tolist(), values.tolist(), marker=plotext.marker(*look))
    if joined:
        signal.lines()
    plotext.figure.draw(signal)


def _shown(values: FloatArray) -> Sequence[float]:
    shown: list[float] = np.clip(np.nan_to_num(values), -_SHOWN_MAX, _SHOWN_MAX).tolist()
    return shown


def _ticks(first: float, last: float) -> list[float]:
    """Round numbers from `first` to `last`, 0 among them; one of them at least is after it."""
    rough = max(last - first, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    low, high = math.ceil(first / apart - 1e-9), math.floor(last / apart + 1e-9)
    return [round(apart * place, 9) for place in range(low, high + 1)] + ([last] if high < 1 else [])


def _legend(fan: Fan, unit: str) -> str:
    bands = [f"{_BAND_LOOKS[level][0]} {level:.0%}" for level in fan.bands]
    values = f"{fan.unit} by " if fan.unit else ""
    return "  ".join([f"{values}{unit} from now:", "▚ measured", f"{_MEDIAN_LOOK[0]} median", *bands])
