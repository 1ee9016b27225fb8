"""Turns frames that are over into minutes, and takes away what is too old, in transactions of milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, exists, insert, select

from ryu_apps.store import schema
from ryu_apps.store.engine import Database
from ryu_apps.store.samples import (
    MINUTE_S,
    Floats,
    minute_of,
    pack_values,
    read_frames,
    unpack_times,
    unpack_values,
)

BATCH = 250
"""Series in one transaction: others who write wait for no more."""

PAUSE_S = 0.02
"""Between two transactions. SQLite does not queue its writers: without a gap others might not get in at all."""

_Cells = dict[int, dict[float, float]]


def minutes_over(connection: Connection, newest_s: float) -> list[int]:
    """The minutes that still have frames and are not the one of the newest sample."""
    times = connection.scalars(select(schema.frames.c.time_s)).all()
    return sorted({minute_of(time_s) for time_s in times} - {minute_of(newest_s)})


def roll_up(database: Database, minute_s: int) -> None:
    """Turn the frames of a minute into rows by series and into their sums. Raises StoreError.

    What the minute has already is kept: after a step of the clock there may be more to come for it.
    """
    doing = "roll up a minute of history"
    with database.reading(doing) as connection:
        times, ids, values = _minute(connection, minute_s)
        again = _rolled_up_before(connection, minute_s)
    # Nobody reads the rows of a minute before its times are there. Where they are there already, rows and times
    # must change together.
    batches = [slice(start, start + BATCH) for start in range(0, len(ids), BATCH)]
    for batch in () if again else batches:
        with database.writing(doing) as connection:
            _write_series(connection, minute_s, ids[batch], values[batch])
        time.sleep(PAUSE_S)
    with database.writing(doing) as connection:
        for batch in batches if again else ():
            _write_series(connection, minute_s, ids[batch], values[batch])
        table = schema.raw_minutes
        connection.execute(delete(table).where(table.c.minute_s == minute_s))
        connection.execute(insert(table).values(minute_s=minute_s, times_s=times.astype("<f8").tobytes()))
        frames = schema.frames.c.time_s
        connection.execute(
            delete(schema.frames).where(
                frames > minute_s, frames <= minute_s + MINUTE_S, frames.in_(times.tolist())
            )
        )


def _rolled_up_before(connection: Connection, minute_s: int) -> bool:
    table = schema.raw_minutes
    return connection.scalar(select(table.c.minute_s).where(table.c.minute_s == minute_s)) is not None


def _minute(connection: Connection, minute_s: int) -> tuple[Floats, list[int], Floats]:
    """All samples of a minute: times (T,), series ids (n,), and values (n, T) with NaN where missing."""
    frames = read_frames(connection, minute_s, minute_s + MINUTE_S)
    columns: list[tuple[float, Any, Any]] = [(frame.time_s, frame.ids, frame.mbps) for frame in frames]
    columns += _rolled_up(connection, minute_s)
    times = np.unique(np.array([time_s for time_s, _, _ in columns]))
    ids = np.unique(np.concatenate([ids for _, ids, _ in columns]))
    values = np.full((len(ids), len(times)), np.nan)
    for time_s, its_ids, mbps in columns:
        values[np.searchsorted(ids, its_ids), np.searchsorted(times, time_s)] = mbps
    return times, [int(series_id) for series_id in ids], values


def _rolled_up(connection: Connection, minute_s: int) -> list[tuple[float, Any, Any]]:
    """What was rolled up for this minute before, as columns."""
    stored = connection.scalar(
        select(schema.raw_minutes.c.times_s).where(schema.raw_minutes.c.minute_s == minute_s)
    )
    if stored is None:
        return []
    times = unpack_times(stored)
    raw = schema.raw_values
    # By way of the series: the values are in the order of those, and there is no index by minute.
    rows = connection.execute(
        select(raw.c.series_id, raw.c.mbps).select_from(
            schema.series.join(raw, (raw.c.series_id == schema.series.c.id) & (raw.c.minute_s == minute_s))
        )
    ).all()
    ids = np.array([series_id for series_id, _ in rows], dtype=np.uint32)
    values = np.array([unpack_values(data, len(times)) for _, data in rows]).reshape(len(rows), len(times))
    return [(time_s, ids, values[:, column]) for column, time_s in enumerate(times)]


def _write_series(connection: Connection, minute_s: int, ids: list[int], values: Floats) -> None:
    for table in (schema.raw_values, schema.minutes):
        connection.execute(delete(table).where(table.c.minute_s == minute_s, table.c.series_id.in_(ids)))
    connection.execute(
        insert(schema.raw_values),
        [
            {"series_id": number, "minute_s": minute_s, "mbps": pack_values(row)}
            for number, row in zip(ids, values, strict=True)
        ],
    )
    samples = np.count_nonzero(~np.isnan(values), axis=1)
    # No series is listed without a sample, so none of these rows is all NaN.
    sums, highest = np.nansum(values, axis=1), np.nanmax(values, axis=1)
    connection.execute(
        insert(schema.minutes),
        [
            {
                "series_id": number,
                "minute_s": minute_s,
                "mean_mbps": float(sums[row] / samples[row]),
                "max_mbps": float(highest[row]),
                "samples": int(samples[row]),
            }
            for row, number in enumerate(ids)
        ],
    )


def forget_old(
    database: Database, series_ids: Iterable[int], raw_before_s: float, minutes_before_s: float
) -> set[int]:
    """Take away what these series have from before; the ids of series with nothing left, which went too.

    Raises StoreError.
    """
    doing = "take away old history"
    raw, minutes, series = schema.raw_values, schema.minutes, schema.series
    gone: set[int] = set()
    ids = list(series_ids)
    with database.writing(doing) as connection:
        connection.execute(delete(schema.raw_minutes).where(schema.raw_minutes.c.minute_s < raw_before_s))
        recent = {int(number) for frame in read_frames(connection, 0.0, float("inf")) for number in frame.ids}
    for start in range(0, len(ids), BATCH // 5):
        batch = ids[start : start + BATCH // 5]
        with database.writing(doing) as connection:
            connection.execute(delete(raw).where(raw.c.series_id.in_(batch), raw.c.minute_s < raw_before_s))
            old = minutes.c.minute_s < minutes_before_s
            connection.execute(delete(minutes).where(minutes.c.series_id.in_(batch), old))
            left = (
                exists().where(raw.c.series_id == series.c.id),
                exists().where(minutes.c.series_id == series.c.id),
            )
            empty = select(series.c.id).where(series.c.id.in_(batch), ~left[0], ~left[1])
            unused = set(connection.scalars(empty)) - recent
            connection.execute(delete(series).where(series.c.id.in_(unused)))
        gone |= unused
        if start + BATCH // 5 < len(ids):
            time.sleep(PAUSE_S)
    return gone
