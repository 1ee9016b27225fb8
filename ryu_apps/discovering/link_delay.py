"""The delay of one link, estimated from the flight times of probes."""

from __future__ import annotations

from collections import deque

WINDOW = 9
LOW_RANK = 2
"""The third smallest of the last nine samples is the link's. Queueing in switch and controller only ever adds, so
the low samples are the true ones (the round trips that are taken off are the least of several too); the two
lowest may owe it to a round trip that was measured too long. A mean would carry each late probe for seconds."""

GAIN = 0.3
"""Weight of a new one of these. The EWMA behind evens out the small noise that a rank lets through."""

SETTLED = 3
"""Samples before there is a value to compute paths on."""

PATIENCE = 3
"""Probes in a row after which the smoothed value must be away from the held one before that moves."""

RISE_PATIENCE = 40
"""The same for a rise. A rise is most often a queue, and paths that run from queues chase their own traffic round
the fabric, as the ARPANET's once did: how full a link is, is for the planner to weigh, not for shortest paths."""

WITNESSES = 8
"""Samples of the window that must be away too, on the same side. With one probe in ten delayed by far that happens
by chance once in ten million probes; a real change has this many witnesses after eight."""

HOLD_SHARE = 0.2
HOLD_MS = 0.5
HOLD_SPREADS = 2.0
"""How far away the smoothed value must be: all three. What is less than the noise is no change: on a busy machine
the probes of every short link are late by a good millisecond for a while, and that is the machine's doing."""

MAD_TO_SIGMA = 1.4826
"""The median absolute deviation of normal noise times this is its standard deviation."""


class DelayEstimate:
    """One-way delay of a link: smoothed, with its spread, and held still for path computation.

    smoothed_ms is the live estimate (never negative), spread_ms its noise as a standard deviation, held_ms
    what paths are computed on: it moves only when smoothed_ms has been more than 20 %, 0.5 ms and two
    spreads away for PATIENCE (up: RISE_PATIENCE) probes in a row and WITNESSES of the last samples agree. Each is
    None until measured.
    """

    __slots__ = ("_apart", "_samples_ms", "held_ms", "smoothed_ms", "spread_ms")

    def __init__(self, held_ms: float | None = None) -> None:
        self.held_ms = held_ms
        self.smoothed_ms: float | None = None
        self.spread_ms: float | None = None
        self._samples_ms: deque[float] = deque(maxlen=WINDOW)
        self._apart = 0

    def add(self, flight_s: float, source_rtt_s: float | None, target_rtt_s: float | None) -> bool:
        """Take in one probe: its time from controller to controller and both control channels' round trips.

        A probe whose round trips are unknown says nothing of the link and is left out. Returns whether
        held_ms moved.
        """
        if source_rtt_s is None or target_rtt_s is None:
            return False
        samples_ms = self._samples_ms
        samples_ms.append((flight_s - source_rtt_s / 2 - target_rtt_s / 2) * 1e3)
        # Samples stay as they are, below zero too: cutting each one off would push the others up.
        # Of three samples it is the middle one: the first round trips are measured while all is starting up.
        rank = (len(samples_ms) * LOW_RANK + WINDOW // 2) // WINDOW
        low_ms = max(0.0, sorted(samples_ms)[rank])
        self.smoothed_ms = _follow(self.smoothed_ms, low_ms)
        if len(samples_ms) < SETTLED:
            return False
        middle_ms = _median(samples_ms)
        sigma_ms = MAD_TO_SIGMA * _median([abs(sample_ms - middle_ms) for sample_ms in samples_ms])
        self.spread_ms = _follow(self.spread_ms, sigma_ms)
        # Noise that has just begun is not in the spread yet.
        return self._hold(low_ms, max(self.spread_ms, sigma_ms))

    def _hold(self, low_ms: float, noise_ms: float) -> bool:
        assert self.smoothed_ms is not None
        if self.held_ms is not None:
            band_ms = max(HOLD_SHARE * self.held_ms, HOLD_MS, HOLD_SPREADS * noise_ms)
            above = self.smoothed_ms > self.held_ms
            self._apart = self._apart + 1 if abs(self.smoothed_ms - self.held_ms) > band_ms else 0
            edge_ms = self.held_ms + (band_ms if above else -band_ms)
            witnesses = sum((sample_ms > edge_ms) == above for sample_ms in self._samples_ms)
            if self._apart < (RISE_PATIENCE if above else PATIENCE) or witnesses < WITNESSES:
                return False
        # The delay is another one now: smoothing it together with the old one would only lag behind.
        self.smoothed_ms = self.held_ms = low_ms
        self._apart = 0
        return True


def _follow(old: float | None, new: float) -> float:
    return new if old is None else old + GAIN * (new - old)


def _median(values: deque[float] | list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
