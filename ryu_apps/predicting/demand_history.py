"""The newest samples of every demand, on an even clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ryu_apps.store import SeriesKey
from stitching.routes import Pair

Floats = npt.NDArray[np.float64]

CHOOSE_EVERY = 64
"""So many samples lie between two choices of the largest: each starts the forecast over."""


def pairs_of(keys: Iterable[SeriesKey]) -> tuple[Pair, ...]:
    """The keys under which demands are stored, as pairs."""
    return tuple((str(key[0]), str(key[1])) for key in keys if isinstance(key, tuple))


class DemandHistory:
    """A ring of `capacity` samples, one row a demand, one column a tick of step_s seconds; most_pairs have one.

    A demand that was not known yet at a tick was 0 then: what has no rule to count it cannot send. One that was
    known and not measured is NaN.
    """

    def __init__(self, step_s: float, capacity: int, most_pairs: int) -> None:
        self.step_s = step_s
        self._capacity = capacity
        self.samples = 0
        self.left_out = 0
        self.pairs: tuple[Pair, ...] = ()
        self._most_pairs = most_pairs
        self._rows: dict[Pair, int] = {}
        # Twice the room, so that the samples have to be moved to the front only once in `capacity` ticks.
        self._ring: Floats = np.zeros((0, 2 * capacity))
        self._end = 0
        self._last_s = 0.0
        self._last_beat: int | None = None
        self._chosen_at = -CHOOSE_EVERY

    @property
    def length(self) -> int:
        """How many ticks are kept."""
        return min(self._end, self._capacity)

    def remember(self, last_s: float, pairs: tuple[Pair, ...], values: Floats) -> None:
        """Begin with what was measured before a restart: values (n, T), the last column of the time last_s."""
        unknown = np.isnan(values)
        began = int(np.argmin(unknown.all(axis=0)))
        values, unknown = values[:, began:], unknown[:, began:]
        measured = ~unknown.all(axis=0)
        # Before its first sample a demand was not known, as far as anything was measured at all.
        values = np.where(np.logical_and.accumulate(unknown, axis=1) & measured, 0.0, values)[:, -self._capacity :]
        largest = np.argsort(-np.nan_to_num(values).sum(axis=1), kind="stable")[: self._most_pairs]
        self._set_rows([pairs[row] for row in largest])
        self._ring[:, : values.shape[1]] = values[largest]
        self._end = values.shape[1]
        self._last_s = last_s
        self.samples = int(measured.sum())

    def append(self, time_s: float, beat: int, demand_mbps: Mapping[Pair, float]) -> bool:
        """Take in the demands measured at the end of a tick; ticks that were left out since count as missing.

        beat counts the ticks of this process, so that a step of the wall clock leaves no gap. Answers whether
        the clock of the samples before was moved by one.
        """
        if self.samples % CHOOSE_EVERY == 0:
            self._drop_departed(demand_mbps)
        self._make_rows(demand_mbps)
        by_clock = round((time_s - self._last_s) / self.step_s) if self._end else 1
        passed = by_clock if self._last_beat is None else beat - self._last_beat
        missing = min(max(passed - 1, 0), self._capacity - 1)
        self._make_room(missing + 1)
        self._ring[:, self._end : self._end + missing + 1] = np.nan
        self._end += missing + 1
        for pair, mbps in demand_mbps.items():
            if (row := self._rows.get(pair)) is not None:
                self._ring[row, self._end - 1] = mbps
        stepped = self._last_beat is not None and abs(time_s - self._last_s - passed * self.step_s) > self.step_s
        self._last_s, self._last_beat = time_s, beat
        self.samples += 1
        return stepped

    def newest(self) -> Floats:
        """The last sample, (n, 1)."""
        return self._kept()[:, -1:].copy()

    def last_known(self) -> Floats:
        """The last sample of each demand that was measured, (n, 1)."""
        kept = self._kept()
        known = np.isfinite(kept)
        newest = kept.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        values: Floats = np.nan_to_num(kept[np.arange(len(kept)), newest])
        return values[:, None]

    def matrix(self) -> tuple[Floats, Floats]:
        """Times (T,) in seconds and values (n, T) in Mbit/s."""
        times: Floats = self._last_s - self.step_s * np.arange(self.length - 1, -1, -1, dtype=np.float64)
        return times, self._kept().copy()

    def _kept(self) -> Floats:
        return self._ring[:, self._end - self.length : self._end]

    def _make_room(self, ticks: int) -> None:
        if self._end + ticks > self._ring.shape[1]:
            kept = self._kept().copy()
            self._end = kept.shape[1]
            self._ring[:, : self._end] = kept

    def _make_rows(self, demand_mbps: Mapping[Pair, float]) -> None:
        """Give each new demand a row, while there are rows; where there are too few the largest have them."""
        new = [pair for pair in demand_mbps if pair not in self._rows]
        room = self._most_pairs - len(self._rows)
        self.left_out = max(0, len(new) - room)
        if new and len(new) <= room:
            self._set_rows([*self._rows, *sorted(new)])
        elif new and self.samples - self._chosen_at >= CHOOSE_EVERY:
            self._chosen_at = self.samples
            recent = np.nan_to_num(self._kept()[:, -CHOOSE_EVERY:])
            mbps = dict(zip(self._rows, recent.mean(axis=1).tolist() if recent.size else [], strict=False))
            mbps |= {pair: demand_mbps[pair] for pair in new}
            largest = sorted(mbps, key=lambda pair: (-mbps[pair], pair))[: self._most_pairs]
            if set(largest) != set(self._rows):
                self._set_rows(sorted(largest))

    def _drop_departed(self, demand_mbps: Mapping[Pair, float]) -> None:
        """Forget demands of which no sample is left, and none has come."""
        known = set(np.flatnonzero(np.isfinite(self._kept()).any(axis=1)).tolist())
        here = [pair for pair, row in self._rows.items() if pair in demand_mbps or row in known]
        # Where all are gone nobody would tell that: who looks ahead needs something to look at.
        if here and len(here) < len(self._rows):
            self._set_rows(here)

    def _set_rows(self, pairs: list[Pair]) -> None:
        """Keep these demands: with their samples where they have any."""
        ring = np.zeros((len(pairs), 2 * self._capacity))
        for row, pair in enumerate(pairs):
            if pair in self._rows:
                ring[row, : self._end] = self._ring[self._rows[pair], : self._end]
        self._ring = ring
        self._rows = {pair: row for row, pair in enumerate(pairs)}
        self.pairs = tuple(pairs)
