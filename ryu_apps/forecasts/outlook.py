"""What a running controller forecasts, as tables: what will be fullest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ryu_apps.shown import number, share, table

Json = Mapping[str, Any]

MOST_ROWS = 20
"""Series in a table, unless all are asked for."""

_SHOWN_LEVELS = (0.05, 0.5, 0.95)
_COLD = "?"


def tables(answer: Json, *, every_step: bool) -> list[RenderableType]:
    """When it was made; links and demands with a low, a middle and a high quantile, alarms, how much came true.

    Each when it may be fullest, MOST_ROWS of them; with `every_step` all of them and all their steps.
    """
    shown: list[RenderableType] = [
        f"made {_time(round(answer['age_s']))} ago, at {answer['made']}, of {answer['samples']} samples"
    ]
    for title, kind in (("Links", "links"), ("Demands", "demands")):
        if series := answer[kind]:
            in_order = sorted(series, key=_fullness, reverse=True)
            made = _every_step if every_step else _fullest_step
            ahead_s = [step * answer["step_s"] for step in answer["steps"]]
            shown.extend(made(title, in_order, ahead_s, share(answer["threshold_share"])))
    if any(one["cold"] for kind in ("links", "demands") for one in answer[kind]):
        shown.append(
            f"{_COLD} a guess: there are too few samples, or no forecast could be made; see `lockstitch health`"
        )
    if answer["alarms"]:
        rows = [(one["time"], one["series"], f"{one['surprise_bits']:.0f}") for one in answer["alarms"]]
        shown.append(table("Not expected", "when", "series", "bits", rows=rows))
    if answer["outcomes"]:
        true = [
            (f"{one['interval']:.0%}", share(one["demands"]), share(one["links"])) for one in answer["came_true"]
        ]
        shown.append(table("How much came true of late", "interval", "demands", "links", rows=true))
    return shown


def _fullest_step(
    title: str, series: Sequence[Json], ahead_s: Sequence[float], threshold: str
) -> list[RenderableType]:
    rows = []
    for one in series[:MOST_ROWS]:
        step = _fullest(one)
        rows.append((_name(one), _time(ahead_s[step]), *_at(one, step), share(_filled(one))))
    columns = ("name", "in", *_columns(threshold), "of capacity")
    shown: list[RenderableType] = [
        table(f"{title} at their fullest in the next {_time(ahead_s[-1])}, Mbit/s", *columns, rows=rows)
    ]  # fmt: skip
    if left := len(series) - len(rows):
        shown.append(f"and {left} more that will be less full; --all shows every one at every step")
    return shown


def _every_step(
    title: str, series: Sequence[Json], ahead_s: Sequence[float], threshold: str
) -> list[RenderableType]:
    rows = [
        (_name(one) if step == 0 else "", f"+{seconds:g}", *_at(one, step))
        for one in series
        for step, seconds in enumerate(ahead_s)
    ]
    return [table(f"{title}, Mbit/s", "name", "s", *_columns(threshold), rows=rows)]


def _name(one: Json) -> str:
    return f"{one['name']} {_COLD}" if one["cold"] else str(one["name"])


def _columns(threshold: str) -> tuple[str, ...]:
    return ("mean", *(f"{level:.0%}" for level in _SHOWN_LEVELS), f"chance of > {threshold}")


def _at(one: Json, step: int) -> tuple[str, ...]:
    levels = {quantile["level"]: quantile["mbps"] for quantile in one["quantiles"]}
    values = [one["mean_mbps"][step], *(levels[_nearest(level, levels)][step] for level in _SHOWN_LEVELS)]
    return (*(number(value) for value in values), share((one.get("prob_above") or {step: None})[step]))


def _fullest(one: Json) -> int:
    """The step at which its highest shown quantile is highest, the last one of several."""
    levels = {quantile["level"]: quantile["mbps"] for quantile in one["quantiles"]}
    upper = levels[_nearest(_SHOWN_LEVELS[-1], levels)]
    return max(range(len(upper)), key=lambda step: (upper[step] or 0.0, step))


def _fullness(one: Json) -> tuple[float, float]:
    """How full a link will be at its fullest; of a demand, or where no capacity is known, how much that is."""
    return _filled(one) or 0.0, one["mean_mbps"][_fullest(one)] or 0.0


def _filled(one: Json) -> float | None:
    mbps, capacity_mbps = one["mean_mbps"][_fullest(one)], one.get("capacity_mbps")
    return mbps / capacity_mbps if mbps is not None and capacity_mbps else None


def _nearest(wanted: float, levels: Iterable[float]) -> float:
    return min(levels, key=lambda level: abs(level - wanted))


def _time(seconds: float) -> str:
    """A time in the unit that people would say it in."""
    for unit_s, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:g} s"
