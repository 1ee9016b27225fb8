"""One direction of a link as arithmetic on time: rate, delay, loss and a finite queue.

No clock and no socket in here; the caller says what time it is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Pipe:
    """A first-in first-out line: `rate_mbps`, `delay_ms`, `loss` (share) and `queue_ms` of buffer at that rate.

    Rate is kept by a virtual clock: a frame starts when the one before it has left, lasts its own layer-2
    bits over the rate, then travels `delay_ms`. A frame that would wait longer than `queue_ms` for its start
    is dropped at the tail. Loss is drawn before the queue, seeded, so a run can be repeated. `rate_mbps=None`
    means no limit and therefore no queue.
    """

    __slots__ = (
        "_bits_s",
        "_free_at_s",
        "_random",
        "bytes",
        "cut",
        "delay_ms",
        "dropped_cut",
        "dropped_device",
        "dropped_loss",
        "dropped_queue",
        "frames",
        "late_frames",
        "line",
        "loss",
        "queue_ms",
        "rate_mbps",
        "sent_s",
    )

    def __init__(
        self, rate_mbps: float | None, delay_ms: float, loss: float, queue_ms: float, seed: int | str
    ) -> None:
        self._random: Callable[[], float] = random.Random(seed).random
        self._free_at_s = 0.0
        self.line: deque[tuple[float, bytes]] = deque()
        self.cut = False
        self.frames = self.bytes = self.late_frames = 0
        self.dropped_queue = self.dropped_loss = self.dropped_cut = self.dropped_device = 0
        self.sent_s = 0.0
        self.queue_ms = queue_ms
        self.set(rate_mbps=rate_mbps, delay_ms=delay_ms, loss=loss)

    def set(self, *, rate_mbps: float | None, delay_ms: float, loss: float) -> None:
        """Change the link; frames already on the line keep their time.

        Raises ValueError on a figure that is no link.
        """
        if rate_mbps is not None and not 0 < rate_mbps < float("inf"):
            raise ValueError(f"rate_mbps={rate_mbps} must be positive, or None for no limit")
        if not 0 <= delay_ms < float("inf"):
            raise ValueError(f"delay_ms={delay_ms} must be 0 or more")
        if not 0 <= loss <= 1:
            raise ValueError(f"loss={loss} is a share and must be between 0 and 1")
        self.rate_mbps, self.delay_ms, self.loss = rate_mbps, delay_ms, loss
        self._bits_s = rate_mbps * 1e6 if rate_mbps else float("inf")

    def offer(self, frame: bytes, now_s: float) -> float | None:
        """Take a frame that arrives now; return when it comes out at the far end, None when it was dropped."""
        if self.cut:
            self.dropped_cut += 1
            return None
        if self.loss and self._random() < self.loss:
            self.dropped_loss += 1
            return None
        start_s = self._free_at_s
        if start_s <= now_s:
            start_s = now_s
        elif start_s - now_s > self.queue_ms * 1e-3:
            self.dropped_queue += 1
            return None
        size = len(frame)
        lasts_s = size * 8 / self._bits_s
        self._free_at_s = start_s + lasts_s
        self.frames += 1
        self.bytes += size
        self.sent_s += lasts_s
        due_s = self._free_at_s + self.delay_ms * 1e-3
        # A delay that was just made shorter must not let a frame overtake the line.
        if self.line and due_s < self.line[-1][0]:
            due_s = self.line[-1][0]
        self.line.append((due_s, frame))
        return due_s

    def drop_line(self) -> None:
        """Cut: everything on the line is lost, and everything offered until `cut` is False again."""
        self.cut = True
        self.dropped_cut += len(self.line)
        self.line.clear()
        self._free_at_s = 0.0

    def statistics(self) -> dict[str, float]:
        """Counters since the start; `busy_s` is time spent sending, its growth per second the utilisation."""
        return {
            "frames": self.frames,
            "bytes": self.bytes,
            "dropped_queue": self.dropped_queue,
            "dropped_loss": self.dropped_loss,
            "dropped_cut": self.dropped_cut,
            "dropped_device": self.dropped_device,
            "late_frames": self.late_frames,
            "busy_s": self.sent_s,
            "waiting": len(self.line),
        }
