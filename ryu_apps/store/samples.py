"""How measured rates lie in the database.

A period is one row of `frames`: the series it measured, and their values. That is one small write a second,
however many switches there are. A series that was not measured is simply not in it, and a zero is stored as a
zero: what is missing is never taken for one. When a minute is over its frames are turned round into one row for
each series (`raw_values`, on the times in `raw_minutes`), from which a series can be read without its neighbours,
and summed up in `minutes`. A raw minute counts only once its row in `raw_minutes` is there, which comes in the
transaction that takes its frames away: whenever the process dies, each sample is in one of the two places.

A minute is named by its start m and has the samples with m < time_s <= m + 60: their periods ended in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, insert, select

from ryu_apps.events import Pair, Rates
from ryu_apps.store import schema
from stitching.network import PortId, node_name

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.uint32]

MINUTE_S = 60

SeriesKey = PortId | Pair | int


class SeriesKind(StrEnum):
    """What a series is of: what a port sent (PortId), a demand (Pair), or a stitch (its id)."""

    PORT = "port"
    DEMAND = "demand"
    STITCH = "stitch"


class Resolution(StrEnum):
    """Every sample, or for each minute the mean or the highest of its samples."""

    RAW = "raw"
    MINUTE_MEAN = "minute_mean"
    MINUTE_MAX = "minute_max"


@dataclass(frozen=True, slots=True)
class Frame:
    """One period: series ids in order, and a value in Mbit/s for each."""

    time_s: float
    ids: Ids
    mbps: npt.NDArray[np.float32]


class SeriesIds:
    """The number of each series, as the database has them. Only the writer's thread gives out new ones."""

    def __init__(self, connection: Connection) -> None:
        self._ids: dict[SeriesKind, dict[SeriesKey, int]] = {kind: {} for kind in SeriesKind}
        self._next = 1
        for series_id, kind, text in connection.execute(select(schema.series)):
            self._ids[SeriesKind(kind)][key_of(SeriesKind(kind), text)] = series_id
            self._next = max(self._next, series_id + 1)
        self._new: list[tuple[SeriesKind, SeriesKey]] = []

    def frame(self, rates: Rates) -> Frame:
        """The rates as a frame. Series that are new wait for save_new()."""
        ids: list[int] = []
        values: list[float] = []
        for kind, measured in (
            (SeriesKind.PORT, rates.port_tx_mbps),
            (SeriesKind.DEMAND, rates.demand_mbps),
            (SeriesKind.STITCH, rates.stitch_mbps),
        ):
            known = self._ids[kind]
            for key in measured.keys() - known.keys():
                known[key] = self._next
                self._next += 1
                self._new.append((kind, key))
            ids += [known[key] for key in measured]
            values += measured.values()
        order = np.argsort(np.array(ids, dtype=np.uint32))
        return Frame(
            rates.time_s,
            np.array(ids, dtype=np.uint32)[order],
            np.array(values, dtype=np.float32)[order],
        )

    def save_new(self, connection: Connection) -> None:
        """Write down the new series; forget_new() if the transaction fails, saved() if not."""
        rows = [{"id": self._ids[kind][key], "kind": kind.value, "key": key_text(key)} for kind, key in self._new]
        if rows:
            connection.execute(insert(schema.series), rows)

    def saved(self) -> None:
        """The new series are in the database."""
        self._new.clear()

    def forget_new(self) -> None:
        """The new series are not in the database."""
        for kind, key in self._new:
            del self._ids[kind][key]
        self._new.clear()

    def all(self) -> list[int]:
        """The numbers of all series."""
        return [series_id for known in self._ids.values() for series_id in known.values()]

    def forget(self, series_ids: set[int]) -> None:
        """These series are no longer in the database."""
        for kind, known in self._ids.items():
            self._ids[kind] = {key: number for key, number in known.items() if number not in series_ids}


def key_text(key: SeriesKey) -> str:
    """A key as the database has it: dpid:port, source>target, or the stitch id."""
    if isinstance(key, int):
        return str(key)
    first, second = key
    return f"{node_name(first)}:{second}" if isinstance(first, int) else f"{first}>{second}"


def key_of(kind: SeriesKind, text: str) -> SeriesKey:
    """The key that key_text() wrote."""
    if kind is SeriesKind.PORT:
        dpid, _, port_no = text.partition(":")
        return int(dpid, 16), int(port_no)
    if kind is SeriesKind.DEMAND:
        source, _, target = text.partition(">")
        return source, target
    return int(text)


def minute_of(time_s: float) -> int:
    """The start of the minute that a sample at this time belongs to."""
    return math.ceil(time_s / MINUTE_S) * MINUTE_S - MINUTE_S


def write_frame(connection: Connection, frame: Frame) -> None:
    """Store a frame, in place of one of the same time."""
    connection.execute(delete(schema.frames).where(schema.frames.c.time_s == frame.time_s))
    connection.execute(
        insert(schema.frames).values(
            time_s=frame.time_s,
            series_ids=frame.ids.astype("<u4").tobytes(),
            mbps=frame.mbps.astype("<f4").tobytes(),
        )
    )


def read_frames(connection: Connection, after_s: float, until_s: float) -> list[Frame]:
    """The frames of after_s < time_s <= until_s that have not been turned round yet, oldest first."""
    table = schema.frames
    wanted = select(table).where(table.c.time_s > after_s, table.c.time_s <= until_s).order_by(table.c.time_s)
    return [
        Frame(time_s, np.frombuffer(ids, dtype="<u4"), np.frombuffer(mbps, dtype="<f4"))
        for time_s, ids, mbps in connection.execute(wanted)
    ]


def pack_values(values: Floats) -> bytes:
    """The samples of a series in one minute, NaN where missing; a minute of zeros takes no room."""
    return values.astype("<f4").tobytes() if values.any() or np.isnan(values).any() else b""


def unpack_values(data: bytes, length: int) -> Floats:
    """What pack_values() packed."""
    return np.frombuffer(data, dtype="<f4").astype(np.float64) if data else np.zeros(length)


def unpack_times(data: bytes) -> Floats:
    """The times of a raw minute."""
    return np.frombuffer(data, dtype="<f8").astype(np.float64)
