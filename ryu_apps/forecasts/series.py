"""Series and events in files that users name: read, put on an even clock, and what that took told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecasting import ForecastingError, Panel
from forecasting.calendar import EVENT_FIELDS, Event, event_from_row
from forecasting.panel import FloatArray
from ryu_apps.forecasts.archive import FORMAT as MATRICES
from ryu_apps.forecasts.archive import read_matrices
from ryu_apps.forecasts.clock import OnClock, UnevenClock, on_even_clock
from ryu_apps.forecasts.columns import FORMAT as TABLE
from ryu_apps.forecasts.columns import read_columns, read_rows
from ryu_apps.forecasts.errors import BadSeries

DEFAULT_STEP_S = 300.0
"""Between matrices whose file says no times."""

_EVENTS = "give a CSV file with the columns start_utc, end_utc (ISO 8601 or since 1970) and kind"
_TIMED, _NO_STEP = "says its times itself", "leave --step out"


@dataclass(frozen=True, eq=False)
class SeriesFile:
    """The series of a file, and a line about everything that was repaired or assumed."""

    panel: Panel
    notes: tuple[str, ...]


def read_series(
    path: Path, names: Sequence[str] = (), top: int | None = None, step_s: float | None = None
) -> SeriesFile:
    """Read the series of an `.npz` of demand matrices or a CSV file; only `names`, only the `top` largest ones.

    Samples go to the nearest tick of an even clock, the last of several stays, gaps are NaN; negative and infinite
    values count as missing. Series of matrices are called ORIGIN:DESTINATION; those within a node and
    those without any traffic are left out. Matrices without times are `step_s` apart, else DEFAULT_STEP_S; for a
    file with times it may not be given. The largest are those with the largest mean in the first half, which a
    back-test may know. Raises BadSeries.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise BadSeries(path, f"cannot be read ({error.strerror})", f"{MATRICES}; or {TABLE}") from error
    if not start:
        raise BadSeries(path, "is empty", f"{MATRICES}; or {TABLE}")
    if start.startswith(b"PK"):
        times, values, labels, notes = _matrices(path, names, step_s)
    elif step_s is not None:
        raise BadSeries(path, _TIMED, _NO_STEP)
    else:
        times, values, labels, notes = _table(path, names)
    values = _repaired(values, notes)
    try:
        even = on_even_clock(times, values)
    except UnevenClock as error:
        raise BadSeries(path, *str(error).rsplit("; ", 1)) from error
    notes.extend(_about(even))
    values, labels = _largest(path, even.values, labels, top, notes)
    try:
        return SeriesFile(Panel(even.times, values, labels, even.step_s), tuple(notes))
    except ForecastingError as error:
        raise BadSeries(path, str(error), TABLE) from error


def read_events(path: Path) -> tuple[Event, ...]:
    """Read scheduled events from a CSV file with start_utc, end_utc and kind. Raises BadSeries."""
    rows = read_rows(path, EVENT_FIELDS)
    if not rows:
        raise BadSeries(path, "has no events", _EVENTS)
    events = []
    for line, row in rows:
        try:
            events.append(event_from_row(row))
        except ForecastingError as error:
            raise BadSeries(path, f"line {line}: {error}", _EVENTS) from error
    return tuple(events)


def events_within(panel: Panel, events: Sequence[Event]) -> int:
    """Count the events that are going on at some time between the first and the last sample."""
    first, last = float(panel.times[0]), float(panel.times[-1])
    return sum(event.start_s <= last and event.end_s >= first for event in events)


_Raw = tuple[FloatArray, FloatArray, tuple[str, ...], list[str]]


def _matrices(path: Path, wanted: Sequence[str], step_s: float | None) -> _Raw:
    found = read_matrices(path)
    steps, n = found.values.shape[:2]
    notes: list[str] = []
    nodes = found.nodes or tuple(str(node) for node in range(n))
    place = {f"{a}:{b}": (i, j) for i, a in enumerate(nodes) for j, b in enumerate(nodes)}
    for name in wanted:
        if name not in place:
            raise BadSeries(path, f"has no demand {name!r}", f"name two of its nodes: {', '.join(nodes[:12])}")
    # Traffic that enters and leaves at one node crosses no link.
    chosen = tuple(dict.fromkeys(wanted)) or tuple(name for name, (i, j) in place.items() if i != j)
    chosen = chosen or tuple(place)
    within = np.count_nonzero((np.nan_to_num(np.diagonal(found.values, axis1=1, axis2=2)) != 0).any(axis=0))
    if within and n > 1 and not wanted:
        notes.append(
            f"{within} demands within a node were left out; --column {nodes[0]}:{nodes[0]} takes such a one"
        )
    rows = np.array([place[name] for name in chosen])
    values = np.ascontiguousarray(found.values[:, rows[:, 0], rows[:, 1]].T)
    times: FloatArray = (step_s or DEFAULT_STEP_S) * np.arange(steps, dtype=np.float64)
    if found.times is not None:
        if step_s is not None:
            raise BadSeries(path, _TIMED, _NO_STEP)
        times = found.times
    elif step_s is None:
        notes.append(f"no times in it: taken as {DEFAULT_STEP_S:g} s apart; --step says another time")
    dated = np.isfinite(times)
    if not dated.any():
        raise BadSeries(path, "no time in it is one", "give one a matrix, or none at all")
    if not dated.all():
        notes.append(f"{np.count_nonzero(~dated)} matrices without a time were left out")
    silent = ~(np.nan_to_num(values) != 0).any(axis=1)
    if silent.any() and not wanted:
        if silent.all():
            raise BadSeries(path, "no traffic in it", "give matrices that are not all zero")
        notes.append(f"{np.count_nonzero(silent)} demands without any traffic were left out")
        values = values[~silent]
        chosen = tuple(name for name, gone in zip(chosen, silent, strict=True) if not gone)
    return times[dated], values[:, dated], chosen, notes


def _table(path: Path, wanted: Sequence[str]) -> _Raw:
    found = read_columns(path, wanted)
    notes = []
    if found.text:
        notes.append(f"columns without a number were left out: {', '.join(found.text[:8])}")
    if unreadable := int(found.unreadable.sum()):
        notes.append(f"{unreadable} cells that hold no number count as missing")
    if found.undated:
        notes.append(f"{found.undated} rows without a time that can be read were left out")
    return found.times, found.values, found.names, notes


def _repaired(values: FloatArray, notes: list[str]) -> FloatArray:
    """Samples that can be none of a rate made missing."""
    infinite, negative = np.isinf(values), values < 0
    for what, wrong in (("infinite", infinite), ("negative", negative & ~infinite)):
        if count := int(np.count_nonzero(wrong)):
            notes.append(f"{count} {what} values count as missing")
    return np.where(infinite | negative, np.nan, values)


def _about(even: OnClock) -> list[str]:
    said = (
        (even.unsorted, "rows were earlier than the one before and were sorted in"),
        (even.doubled, "samples came twice for one time; the last one stays"),
        (even.moved, f"samples were off an even clock of {even.step_s:g} s and went to the nearest tick"),
        (even.gaps, f"of {even.times.size} ticks have no sample and are missing"),
    )
    return [f"{count} {what}" for count, what in said if count]


def _largest(
    path: Path, values: FloatArray, names: tuple[str, ...], top: int | None, notes: list[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    known = np.isfinite(values)
    if not known.any():
        raise BadSeries(path, "no sample in it is a number from 0 on", TABLE)
    if top is None or top >= len(names):
        return values, names
    half = max(1, values.shape[1] // 2)
    total = np.where(known, values, 0.0)[:, :half].sum(axis=1)
    mean = total / np.maximum(np.count_nonzero(known[:, :half], axis=1), 1)
    rows = np.argsort(-mean, kind="stable")[:top]
    notes.append(f"the {top} largest of {len(names)} series, by their mean in the first half")
    return values[rows], tuple(names[row] for row in rows)
