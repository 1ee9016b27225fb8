"""How well a tunnel does: what its last replies to test packets say, and whether it does worse than it should."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from vte_agent.probing.stamp import Reply
from vte_agent.protocol.has import Quality

_EWMA_KEPT = 0.125
"""As TCP smooths its round trip (RFC 6298)."""

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Window:
    """What the replies of the last while say.

    Jitter is the mean change from one packet to the next (RFC 3393) of the round trip, of the way there (out), and
    of the way back (in): clocks that do not agree make no difference to a change.
    """

    replies: int = 0
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    jitter_out_ms: float | None = None
    jitter_in_ms: float | None = None
    loss_out: float | None = None
    loss_in: float | None = None

    def quality(self) -> Quality:
        """As it is reported."""
        return Quality(
            rtt_ms=self.rtt_ms,
            jitter_ms=self.jitter_ms,
            jitter_out_ms=self.jitter_out_ms,
            jitter_in_ms=self.jitter_in_ms,
            loss_out=self.loss_out,
            loss_in=self.loss_in,
        )


NO_REPLIES = Window()


@dataclass(frozen=True, slots=True)
class _Step:
    """From one reply to the next, in nanoseconds. is_timed: both ways are known, too."""

    rtt: int
    out: int
    back: int
    is_timed: bool


class Recent:
    """The replies of the last `length_s`, and the smoothed round trip.

    Sums are kept while replies come and go, in whole nanoseconds so that they stay exact: what a window says costs
    the same however many replies are in it.
    """

    def __init__(self, length_s: float = 1.0) -> None:
        self.length_s = length_s
        self.ewma_ms: float | None = None
        self._replies: deque[Reply] = deque()
        self._steps: deque[_Step] = deque()
        self._rtt = self._sent = self._reflected = 0
        self._rtt_steps = self._out_steps = self._back_steps = self._timed = 0

    def add(self, reply: Reply) -> None:
        """Take in a reply; they come in the order of their times."""
        self._forget(reply.at_s)
        if self._replies:
            self._steps.append(_step(self._replies[-1], reply))
            self._count_step(self._steps[-1], 1)
        self._replies.append(reply)
        self._count(reply, 1)
        rtt_ms = reply.rtt_s * 1e3
        self.ewma_ms = rtt_ms if self.ewma_ms is None else self.ewma_ms + _EWMA_KEPT * (rtt_ms - self.ewma_ms)

    def window(self, now_s: float) -> Window:
        """What they say now."""
        self._forget(now_s)
        replies, steps = len(self._replies), len(self._steps)
        if not replies:
            return NO_REPLIES
        return Window(
            replies=replies,
            rtt_ms=self._rtt / replies / _NS_PER_MS,
            jitter_ms=_mean_ms(self._rtt_steps, steps),
            jitter_out_ms=_mean_ms(self._out_steps, self._timed),
            jitter_in_ms=_mean_ms(self._back_steps, self._timed),
            loss_out=_lost(self._sent, self._reflected),
            loss_in=_lost(self._reflected, replies),
        )

    def _forget(self, now_s: float) -> None:
        while self._replies and self._replies[0].at_s <= now_s - self.length_s:
            self._count(self._replies.popleft(), -1)
            if self._steps:
                self._count_step(self._steps.popleft(), -1)

    def _count(self, reply: Reply, times: int) -> None:
        self._rtt += times * _ns(reply.rtt_s)
        self._sent += times * reply.sent
        self._reflected += times * reply.reflected

    def _count_step(self, step: _Step, times: int) -> None:
        self._rtt_steps += times * step.rtt
        self._out_steps += times * step.out
        self._back_steps += times * step.back
        self._timed += times * step.is_timed


def _step(before: Reply, after: Reply) -> _Step:
    rtt, out, back = (
        abs(_ns(late) - _ns(soon))
        for soon, late in (
            (before.rtt_s, after.rtt_s),
            (before.out_s, after.out_s),
            (before.back_s, after.back_s),
        )
    )
    # A way takes from nothing to the whole round trip: it cannot have changed by more, so a clock was set.
    is_timed = max(out, back) <= _ns(max(before.rtt_s, after.rtt_s))
    return _Step(rtt, out, back, is_timed) if is_timed else _Step(rtt, 0, 0, is_timed)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _mean_ms(total_ns: int, count: int) -> float | None:
    return total_ns / count / _NS_PER_MS if count else None


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

    @property
    def suspects(self) -> bool:
        """Whether something was lost lately, and what to think of it is not known: more packets tell sooner.

        Once it has spoken they would not, and on a machine that has too much to do they would be too many.
        """
        return self._sum > 0.0 and not self.is_bad

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
