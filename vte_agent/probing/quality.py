"""How well a tunnel does: windows over the replies to test packets, and whether it does worse than it should."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from vte_agent.probing.stamp import Reply
from vte_agent.protocol.has import Quality

WINDOWS_S = (1.0, 10.0, 60.0)

_EWMA_KEPT = 0.125
"""As TCP smooths its round trip (RFC 6298)."""


@dataclass(frozen=True)
class Window:
    """What the replies of the last `length_s` say. jitter_ms: the mean change from one round trip to the next."""

    length_s: float
    replies: int = 0
    rtt_ms: float | None = None
    p95_ms: float | None = None
    jitter_ms: float | None = None
    loss_out: float | None = None
    loss_in: float | None = None

    def quality(self) -> Quality:
        """As it is reported."""
        return Quality(rtt_ms=self.rtt_ms, jitter_ms=self.jitter_ms, loss_out=self.loss_out, loss_in=self.loss_in)


class Windows:
    """The replies of the longest window, and the smoothed round trip."""

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self.ewma_ms: float | None = None

    def add(self, reply: Reply) -> None:
        """Take in a reply; they come in the order of their times."""
        self._replies.append(reply)
        while self._replies[0].at_s < reply.at_s - WINDOWS_S[-1]:
            self._replies.popleft()
        rtt_ms = reply.rtt_s * 1e3
        self.ewma_ms = rtt_ms if self.ewma_ms is None else self.ewma_ms + _EWMA_KEPT * (rtt_ms - self.ewma_ms)

    def window(self, length_s: float, now_s: float) -> Window:
        """The window of a length that ends now; length_s is at most the longest of WINDOWS_S."""
        replies = [reply for reply in self._replies if reply.at_s > now_s - length_s]
        if not replies:
            return Window(length_s)
        rtts = [reply.rtt_s * 1e3 for reply in replies]
        steps = [abs(b - a) for a, b in pairwise(rtts)]
        sent = sum(reply.sent for reply in replies)
        reflected = sum(reply.reflected for reply in replies)
        return Window(
            length_s,
            replies=len(replies),
            rtt_ms=sum(rtts) / len(rtts),
            p95_ms=sorted(rtts)[math.ceil(0.95 * len(rtts)) - 1],
            jitter_ms=sum(steps) / len(steps) if steps else None,
            loss_out=_lost(sent, reflected),
            loss_in=_lost(reflected, len(replies)),
        )


class LossWatch:
    """Whether more is lost than may be: the cumulative sum test of Page (Biometrika 41, 1954).

    It weighs `limit` against a tenth of it and speaks after as few packets as tell the two apart: 5 % after 100
    of them on average. It takes back what it said when as many have said the opposite.
    """

    _SPEAKS = 7.0

    def __init__(self, limit: float) -> None:
        usual = limit / 10
        self._lost = math.log(limit / usual)
        self._came = math.log((1 - limit) / (1 - usual))
        self._sum = 0.0
        self.is_bad = False

    def add(self, sent: int, lost: int) -> None:
        """Take in packets and how many of them were lost."""
        self._sum += lost * self._lost + (sent - lost) * self._came
        # Bounded, so that a long bad time does not take a long good one to forget.
        self._sum = min(max(self._sum, 0.0), 2 * self._SPEAKS)
        if self._sum >= self._SPEAKS:
            self.is_bad = True
        elif self._sum == 0.0:
            self.is_bad = False


class DelayWatch:
    """Whether the round trip has risen by `limit_ms` over the least of the last minutes, for a second."""

    _SPEAKS_AFTER_S = 1.0
    _MEMORY_S = 300.0

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._least_ms: list[float] = []
        self._turned_s = -math.inf
        self._since_s: float | None = None
        self.is_bad = False

    def add(self, at_s: float, rtt_ms: float, smoothed_ms: float) -> None:
        """Take in a round trip, and the smoothed one."""
        if at_s - self._turned_s > self._MEMORY_S:
            # Two halves: what was the least more than two memories ago is forgotten.
            self._least_ms = [*self._least_ms[-1:], rtt_ms]
            self._turned_s = at_s
        self._least_ms[-1] = min(self._least_ms[-1], rtt_ms)
        if smoothed_ms < min(self._least_ms) + self._limit_ms:
            self._since_s, self.is_bad = None, False
        elif self._since_s is None:
            self._since_s = at_s
        elif at_s - self._since_s >= self._SPEAKS_AFTER_S:
            self.is_bad = True


def _lost(sent: int, came: int) -> float | None:
    return min(1.0, max(0.0, 1 - came / sent)) if sent else None
