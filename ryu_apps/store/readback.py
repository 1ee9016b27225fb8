"""Reads history back: one series, or all of a kind on an even grid."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, func, select

from ryu_apps.store import schema
from ryu_apps.store.samples import (
    MINUTE_S,
    Floats,
    Resolution,
    SeriesKey,
    SeriesKind,
    key_of,
    key_text,
    minute_of,
    read_frames,
    unpack_times,
    unpack_values,
)


def newest_s(connection: Connection, until_s: float = math.inf) -> float | None:
    """The time of the newest sample up to until_s; None where there are none."""
    time_s = schema.frames.c.time_s
    newest = connection.scalar(select(func.max(time_s)).where(time_s <= until_s))
    if newest is not None:
        return float(newest)
    # The minute that until_s is in may have been rolled up already, and its samples may all be later.
    raw = schema.raw_minutes.c
    for data in connection.scalars(
        select(raw.times_s).where(raw.minute_s < until_s).order_by(raw.minute_s.desc()).limit(2)
    ):
        times = unpack_times(data)
        if (times <= until_s).any():
            return float(times[times <= until_s].max())
    start_s = schema.minutes.c.minute_s
    minute_s = connection.scalar(select(func.max(start_s)).where(start_s <= until_s - MINUTE_S))
    return None if minute_s is None else float(minute_s + MINUTE_S)


def read_series(
    connection: Connection,
    kind: SeriesKind,
    key: SeriesKey,
    since_s: float,
    until_s: float,
    resolution: Resolution,
) -> tuple[Floats, Floats]:
    """Times (T,) and values (T,) of one series with since_s < time <= until_s. See HistoryStore.read."""
    series = schema.series
    series_id = connection.scalar(
        select(series.c.id).where(series.c.kind == kind.value, series.c.key == key_text(key))
    )
    if series_id is None:
        return np.zeros(0), np.zeros(0)
    fresh = _fresh(connection, series_id, since_s, until_s)
    if resolution is Resolution.RAW:
        points = _raw(connection, series_id, since_s, until_s) | fresh
    else:
        points = _minutes(connection, series_id, since_s, until_s, resolution)
        by_minute: dict[float, list[float]] = defaultdict(list)
        for time_s, mbps in _fresh(connection, series_id, minute_of(since_s), until_s).items():
            by_minute[minute_of(time_s) + MINUTE_S].append(mbps)
        for time_s, values in by_minute.items():
            if since_s < time_s <= until_s:
                points[time_s] = max(values) if resolution is Resolution.MINUTE_MAX else float(np.mean(values))
    times = np.array(sorted(points), dtype=np.float64)
    return times, np.array([points[time_s] for time_s in times], dtype=np.float64)


def _fresh(connection: Connection, series_id: int, since_s: float, until_s: float) -> dict[float, float]:
    points = {}
    for frame in read_frames(connection, since_s, until_s):
        at = int(np.searchsorted(frame.ids, series_id))
        if at < len(frame.ids) and frame.ids[at] == series_id:
            points[frame.time_s] = float(frame.mbps[at])
    return points


def _raw(connection: Connection, series_id: int, since_s: float, until_s: float) -> dict[float, float]:
    raw, on = schema.raw_values, schema.raw_minutes
    rows = connection.execute(
        select(on.c.times_s, raw.c.mbps)
        .join_from(raw, on, raw.c.minute_s == on.c.minute_s)
        .where(raw.c.series_id == series_id, raw.c.minute_s.between(minute_of(since_s), until_s))
    )
    points: dict[float, float] = {}
    for times_data, data in rows:
        times = unpack_times(times_data)
        values = unpack_values(data, len(times))
        wanted = (times > since_s) & (times <= until_s) & ~np.isnan(values)
        points.update(zip(times[wanted].tolist(), values[wanted].tolist(), strict=True))
    return points


def _minutes(
    connection: Connection, series_id: int, since_s: float, until_s: float, resolution: Resolution
) -> dict[float, float]:
    table = schema.minutes
    value = table.c.max_mbps if resolution is Resolution.MINUTE_MAX else table.c.mean_mbps
    rows = connection.execute(
        select(table.c.minute_s, value).where(
            table.c.series_id == series_id,
            table.c.minute_s > since_s - MINUTE_S,
            table.c.minute_s <= until_s - MINUTE_S,
        )
    )
    return {float(minute_s + MINUTE_S): mbps for minute_s, mbps in rows}


@dataclass(slots=True)
class _Grid:
    """Sums and weights of all series on an even grid, (n, T) each."""

    since_s: float
    step_s: float
    sums: Floats
    weights: Floats

    def columns(self, times_s: Floats) -> npt.NDArray[np.intp]:
        """The column of each time; those outside the grid are not in 0..T-1."""
        return np.ceil((times_s - self.since_s) / self.step_s - 1e-9).astype(np.intp) - 1

    def add(self, rows: npt.ArrayLike, columns: npt.ArrayLike, values: Floats, weights: npt.ArrayLike) -> None:
        """Add values at (row, column), leaving out those that are missing or outside."""
        row, column, weight = np.broadcast_arrays(rows, columns, weights)
        inside = (column >= 0) & (column < self.sums.shape[1]) & (row >= 0) & ~np.isnan(values)
        at = row[inside], column[inside]
        np.add.at(self.sums, at, values[inside] * weight[inside])
        np.add.at(self.weights, at, weight[inside])


def read_panel(
    connection: Connection, kind: SeriesKind, since_s: float, step_s: float, until_s: float, largest: int | None
) -> tuple[Floats, tuple[SeriesKey, ...], Floats]:
    """See HistoryStore.read_panel."""
    table = schema.series
    found = connection.execute(select(table.c.id, table.c.key).where(table.c.kind == kind.value)).all()
    if largest is not None and len(found) > largest:
        sent = _sent(connection, kind, since_s, until_s)
        found = sorted(found, key=lambda row: (-sent.get(row[0], 0.0), row[0]))[:largest]
    wanted = {number for number, _ in found}
    row_of = np.full(max((number for number, _ in found), default=0) + 1, -1)
    for row, (number, _) in enumerate(found):
        row_of[number] = row
    steps = max(0, int(np.ceil((until_s - since_s) / step_s - 1e-9)))
    grid = _Grid(since_s, step_s, np.zeros((len(found), steps)), np.zeros((len(found), steps)))
    if step_s < MINUTE_S:
        _add_raw(connection, kind, grid, row_of, until_s, wanted)
    else:
        _add_minutes(connection, kind, grid, row_of, until_s)
    for frame in read_frames(connection, since_s, until_s):
        known = frame.ids < len(row_of)
        column = grid.columns(np.array([frame.time_s]))
        grid.add(row_of[frame.ids[known]], column, frame.mbps[known].astype(np.float64), 1.0)
    with np.errstate(invalid="ignore"):
        values = grid.sums / grid.weights
    measured = grid.weights.sum(axis=1) > 0
    keys = tuple(key_of(kind, text) for (_, text), is_there in zip(found, measured, strict=True) if is_there)
    times: Floats = since_s + step_s * np.arange(1, steps + 1, dtype=np.float64)
    return times, keys, values[measured]


def _sent(connection: Connection, kind: SeriesKind, since_s: float, until_s: float) -> dict[int, float]:
    """What each series sent in a time, as a sum over its samples."""
    table, series = schema.minutes, schema.series
    sums = connection.execute(
        select(table.c.series_id, func.sum(table.c.mean_mbps * table.c.samples))
        .join_from(series, table, table.c.series_id == series.c.id)
        .where(series.c.kind == kind.value, table.c.minute_s.between(since_s, until_s))
        .group_by(table.c.series_id)
    )
    sent: dict[int, float] = {row[0]: row[1] for row in sums}
    for frame in read_frames(connection, since_s, until_s):
        for number, mbps in zip(frame.ids.tolist(), frame.mbps.tolist(), strict=True):
            sent[number] = sent.get(number, 0.0) + mbps
    return sent


def _add_raw(
    connection: Connection,
    kind: SeriesKind,
    grid: _Grid,
    row_of: npt.NDArray[np.int_],
    until_s: float,
    wanted: set[int],
) -> None:
    raw, on, series = schema.raw_values, schema.raw_minutes, schema.series
    first = minute_of(grid.since_s)
    times = {
        minute_s: unpack_times(data)
        for minute_s, data in connection.execute(select(on).where(on.c.minute_s.between(first, until_s)))
    }
    columns = {minute_s: grid.columns(its_times) for minute_s, its_times in times.items()}
    rows = connection.execute(
        select(raw.c.series_id, raw.c.minute_s, raw.c.mbps)
        .join_from(series, raw, raw.c.series_id == series.c.id)
        .where(series.c.kind == kind.value, raw.c.minute_s.between(first, until_s))
    )
    for series_id, minute_s, data in rows:
        if minute_s in times and series_id in wanted:
            inside = times[minute_s] <= until_s
            values = unpack_values(data, len(inside))
            grid.add(row_of[series_id], columns[minute_s][inside], values[inside], 1.0)


def _add_minutes(
    connection: Connection, kind: SeriesKind, grid: _Grid, row_of: npt.NDArray[np.int_], until_s: float
) -> None:
    table, series = schema.minutes, schema.series
    found = connection.execute(
        select(table.c.series_id, table.c.minute_s, table.c.mean_mbps, table.c.samples)
        .join_from(series, table, table.c.series_id == series.c.id)
        .where(series.c.kind == kind.value, table.c.minute_s.between(grid.since_s, until_s - MINUTE_S))
    ).all()
    found = [row for row in found if row[0] < len(row_of)]
    if found:
        ids, starts, means, samples = (np.array(column) for column in zip(*found, strict=True))
        grid.add(row_of[ids], grid.columns(starts + float(MINUTE_S)), means.astype(np.float64), samples)
