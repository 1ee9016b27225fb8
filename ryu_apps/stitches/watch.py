"""Watches one stitch by its probes: when to send the next, and what the answers say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

PROVE_EVERY_S = 0.05
PROVE_WITHIN_S = 2.0
WATCH_EVERY_S = 1.0
COUNT_EVERY_S = 0.2
"""How often a stitch is probed whose loss is limited: loss is counted over the last COUNTED probes."""

COUNTED = 60
ANSWER_WITHIN_S = 0.9
MISSES = 3
_DOUBLINGS = 4
_SMOOTHING = 0.3
_ROUNDING_S = 1e-6


@dataclass
class _Direction:
    """sent_s: probes without an answer so far; answered: the outcomes of the last COUNTED, oldest first."""

    sent_s: deque[float] = field(default_factory=deque)
    answered: deque[bool] = field(default_factory=lambda: deque(maxlen=COUNTED))
    missed: int = 0
    latency_ms: float | None = None
    slow: int = 0

    @property
    def lost(self) -> int:
        """How many of the last COUNTED probes never came out."""
        return len(self.answered) - sum(self.answered)


@dataclass
class Watch:
    """Probes of one stitch, in one direction or both; times are of one monotonic clock.

    Until every direction has answered once a probe is sent after PROVE_EVERY_S, then after twice that and so on,
    later each WATCH_EVERY_S, or COUNT_EVERY_S where max_loss (a share) is given; never within spacing_s of the one
    before.
    """

    started_s: float
    directions: tuple[_Direction, ...]
    max_latency_ms: float | None = None
    max_loss: float | None = None
    next_s: float = 0.0
    spacing_s: float = 0.0
    tries: int = 0
    away_since_s: float | None = None

    @classmethod
    def over(
        cls, directions: int, now_s: float, max_latency_ms: float | None, max_loss: float | None = None
    ) -> Watch:
        """A new watch over so many directions."""
        return cls(now_s, tuple(_Direction() for _ in range(directions)), max_latency_ms, max_loss)

    def __post_init__(self) -> None:
        self.proven = not self.directions
        """Whether a probe has come through in every direction."""

    @property
    def lost(self) -> bool:
        """Whether a direction has swallowed MISSES probes in a row."""
        return any(direction.missed >= MISSES for direction in self.directions)

    @property
    def slow(self) -> bool:
        """Whether the last MISSES probes of a direction all took longer than was asked for."""
        return any(direction.slow >= MISSES for direction in self.directions)

    @property
    def lossy(self) -> bool:
        """Whether a direction lost a greater share than was asked for, and MISSES probes at least."""
        if self.max_loss is None:
            return False
        most = self.max_loss
        return any(
            direction.lost >= MISSES and direction.lost > most * len(direction.answered)
            for direction in self.directions
        )

    @property
    def loss(self) -> float | None:
        """The share of the last probes that the worse direction lost, None before there is one."""
        shares = [direction.lost / len(direction.answered) for direction in self.directions if direction.answered]
        return max(shares, default=None)

    @property
    def latency_ms(self) -> float | None:
        """The smoothed latency of the slower direction, None before it is known."""
        if not self.proven or not self.directions:
            return None
        return max(direction.latency_ms or 0.0 for direction in self.directions)

    def unproven_for_s(self, now_s: float) -> float:
        """How long the stitch has waited for its first probes; 0 once it is proven."""
        return 0.0 if self.proven else now_s - self.started_s

    def is_unproven(self, now_s: float) -> bool:
        """Whether probes have not come through for so long that none will."""
        return self.unproven_for_s(now_s) > PROVE_WITHIN_S + 4 * self.spacing_s

    def away_for_s(self, now_s: float) -> float:
        """For how long no probe could be sent; 0 when the last one could."""
        return 0.0 if self.away_since_s is None else now_s - self.away_since_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for probes, or to see whether its switches are there and whether it is proven."""
        return now_s >= self.next_s or not self.proven or self.away_since_s is not None

    def due(self, now_s: float, heard_s: float | None = None) -> tuple[int, ...]:
        """The directions to send a probe in now; counts those that went unanswered.

        heard_s: what came until then was looked at; all, without.
        """
        heard_s = now_s if heard_s is None else heard_s
        if now_s < self.next_s:
            return ()
        self.away_since_s = None
        often_s = WATCH_EVERY_S if self.max_loss is None else COUNT_EVERY_S
        soon_s = PROVE_EVERY_S * 2 ** min(self.tries, _DOUBLINGS)
        self.next_s = now_s + max(often_s if self.proven else soon_s, self.spacing_s)
        self.tries += 1
        for direction in self.directions:
            while direction.sent_s and heard_s - direction.sent_s[0] > ANSWER_WITHIN_S:
                direction.sent_s.popleft()
                if self.proven:
                    direction.missed += 1
                    direction.answered.append(False)
            direction.sent_s.append(now_s)
        return tuple(range(len(self.directions)))

    def skip(self, now_s: float) -> None:
        """Probes could not be sent (a switch is away from the controller): what is open proves nothing."""
        self.next_s = now_s + PROVE_EVERY_S
        if self.away_since_s is None:
            self.away_since_s = now_s
        self.pardon(now_s)

    def pardon(self, now_s: float) -> None:
        """What is on its way, and how long it has taken, says nothing: it begins anew."""
        if not self.proven:
            self.started_s = now_s
        for direction in self.directions:
            direction.sent_s.clear()

    def heard(self, number: int, latency_ms: float, sent_s: float | None = None) -> None:
        """A probe of this direction came through; those that were sent before it (sent_s) and did not are lost."""
        if number >= len(self.directions):
            return
        direction = self.directions[number]
        known = direction.latency_ms
        direction.latency_ms = latency_ms if known is None else known + _SMOOTHING * (latency_ms - known)
        direction.missed = 0
        if sent_s is None:
            direction.sent_s.clear()
        while direction.sent_s and sent_s is not None and direction.sent_s[0] <= sent_s + _ROUNDING_S:
            earlier = direction.sent_s.popleft() < sent_s - _ROUNDING_S
            if earlier and known is not None:
                direction.answered.append(False)
        direction.answered.append(True)
        self.proven = self.proven or all(other.latency_ms is not None for other in self.directions)
        if self.max_latency_ms is not None:
            direction.slow = direction.slow + 1 if latency_ms > self.max_latency_ms else 0
