"""The history of rates: written by a thread of its own, so that nobody who measures ever waits for a disk."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass

from ryu_apps.events import Rates
from ryu_apps.store import readback, rollup, schema
from ryu_apps.store.engine import Database
from ryu_apps.store.errors import StoreError
from ryu_apps.store.samples import (
    MINUTE_S,
    Floats,
    Frame,
    Resolution,
    SeriesIds,
    SeriesKey,
    SeriesKind,
    minute_of,
    write_frame,
)

log = logging.getLogger("lockstitch.history")

BATCH_S = 1.0
"""A transaction for all that came meanwhile, at most this often."""

WAITING = 60
"""Periods that may wait for a disk that is full, locked or slow."""

TURN = 60
"""Old data goes a share of the series at a time, so that each has its turn once an hour."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long samples, and their sums by the minute, are kept."""

    raw_s: float = 24 * 3600.0
    minutes_s: float = 90 * 24 * 3600.0


class HistoryStore:
    """What was measured, in one database (which may be that of the StateStore); tables are made where needed.

    What has been written survives the death of the process; the loss of power may take the last seconds. Raises
    StoreError when it cannot be opened. All but close() may be called from any thread.
    """

    def __init__(
        self, url: str, *, retention: Retention = Retention(), batch_s: float = BATCH_S, waiting: int = WAITING
    ) -> None:
        self._database = Database(url, durable=False)
        schema.prepare(self._database)
        with self._database.reading("read the names of series") as connection:
            self._series = SeriesIds(connection)
        self._retention = retention
        self._batch_s = batch_s
        self._most = waiting
        self._changed = threading.Condition()
        self._waiting: deque[Rates] = deque()
        self._recorded = self._settled = self._dropped = 0
        self._hurry = self._closing = False
        self._failing = False
        self._minute_s: int | None = None
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the disk did not take the newest samples."""
        return self._failing

    @property
    def dropped(self) -> int:
        """How many periods were lost since the start, for want of a disk that takes them."""
        return self._dropped

    def record(self, rates: Rates) -> None:
        """Take in a period. Never waits: when too many wait for the disk already, the oldest is dropped."""
        with self._changed:
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._dropped += 1
                self._settled += 1
            self._waiting.append(rates)
            self._recorded += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was recorded so far is written or dropped; False when that takes too long."""
        with self._changed:
            target = self._recorded
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout_s)

    def close(self) -> None:
        """Write what waits and close the database."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._database.close()

    # -- read -----------------------------------------------------------------------------------------------

    def read(
        self,
        kind: SeriesKind,
        key: SeriesKey,
        since_s: float,
        until_s: float,
        resolution: Resolution = Resolution.RAW,
    ) -> tuple[Floats, Floats]:
        """Times (T,) in seconds since the epoch and values (T,) in Mbit/s, of since_s < time <= until_s.

        Periods in which the series was not measured are not in it, periods in which it was zero are. A time is
        the end of a period, or of a minute. A series nobody knows is empty. Raises StoreError.
        """
        with self._database.reading("read history") as connection:
            return readback.read_series(connection, kind, key, since_s, until_s, resolution)

    def newest_s(self, until_s: float = math.inf) -> float | None:
        """The time of the newest sample stored up to until_s; None where there is none. Raises StoreError."""
        with self._database.reading("read history") as connection:
            return readback.newest_s(connection, until_s)

    def read_panel(
        self,
        kind: SeriesKind,
        since_s: float,
        step_s: float,
        until_s: float | None = None,
        largest: int | None = None,
    ) -> tuple[Floats, tuple[SeriesKey, ...], Floats]:
        """Times (T,), keys (n,) and values (n, T) in Mbit/s of all series of a kind on an even grid.

        A column is the mean of the samples with times[i] - step_s < time <= times[i], and NaN where there are
        none; times[0] is since_s + step_s. The last column is that of until_s, by default of the newest sample.
        From a step of a minute on it is made of minutes, which are kept for longer; begin and step on whole ones.
        largest: read only so many series, those that sent most in that time.
        Raises StoreError, and ValueError for a step that is not above zero.
        """
        if not step_s > 0:
            raise ValueError(f"step_s is {step_s} and must be above zero")
        with self._database.reading("read history") as connection:
            newest_s = readback.newest_s(connection) if until_s is None else until_s
            end_s = since_s if newest_s is None else newest_s
            return readback.read_panel(connection, kind, since_s, step_s, end_s, largest)

    # -- the writer's thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        wrote_s = float("-inf")
        while not closing:
            batch, closing = self._next_batch(wrote_s + self._batch_s)
            wrote_s = time.monotonic()
            if batch:
                self._settle(batch, written=self._write(batch))
            if batch and not closing:
                self._look_after(batch[-1].time_s)

    def _next_batch(self, due_s: float) -> tuple[list[Rates], bool]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: self._closing or self._hurry, max(0.0, due_s - time.monotonic()))
            self._hurry = False
            batch = list(self._waiting)
            self._waiting.clear()
            return batch, self._closing

    def _settle(self, batch: list[Rates], *, written: bool) -> None:
        with self._changed:
            self._settled += len(batch)
            self._dropped += 0 if written else len(batch)
            self._changed.notify_all()

    def _write(self, batch: list[Rates]) -> bool:
        frames: list[Frame] = [self._series.frame(rates) for rates in batch]
        try:
            with self._database.writing("write history") as connection:
                self._series.save_new(connection)
                for frame in frames:
                    write_frame(connection, frame)
        except StoreError as error:
            self._series.forget_new()
            if not self._failing:
                log.warning("history=dropping error=%s", error)
            self._failing = True
            return False
        self._series.saved()
        if self._failing:
            log.warning("history=writing again dropped_so_far=%d", self._dropped)
        self._failing = False
        return True

    def _look_after(self, newest_s: float) -> None:
        """Once a minute: roll up those that are over, and take old data away."""
        minute_s = minute_of(newest_s)
        if minute_s == self._minute_s:
            return
        try:
            with self._database.reading("look for frames") as connection:
                over = rollup.minutes_over(connection, newest_s)
            for one in over:
                rollup.roll_up(self._database, one)
            turn = minute_s // MINUTE_S % TURN
            gone = rollup.forget_old(
                self._database,
                [series_id for series_id in self._series.all() if series_id % TURN == turn],
                newest_s - self._retention.raw_s,
                newest_s - self._retention.minutes_s,
            )
            self._series.forget(gone)
        except StoreError as error:
            # The frames are still there: the next minute tries again.
            log.warning("roll_up=failed error=%s", error)
        except Exception:  # whatever is wrong with old data, new samples must still be written
            log.exception("roll_up=failed")
        self._minute_s = minute_s
