"""Watches one stitch by its probes: when to send the next, and what the answers say."""

from __future__ import annotations

from dataclasses import dataclass, field

PROVE_EVERY_S = 0.05
PROVE_WITHIN_S = 2.0
WATCH_EVERY_S = 1.0
ANSWER_WITHIN_S = 0.9
MISSES = 3
_SMOOTHING = 0.3


@dataclass
class _Direction:
    sent_s: list[float] = field(default_factory=list)
    missed: int = 0
    latency_ms: float | None = None
    slow: int = 0


@dataclass
class Watch:
    """Probes of one stitch, in one direction or both; times are of one monotonic clock.

    Until every direction has answered once a probe is sent each PROVE_EVERY_S, after that each WATCH_EVERY_S.
    """

    started_s: float
    directions: tuple[_Direction, ...]
    max_latency_ms: float | None = None
    next_s: float = 0.0
    away_since_s: float | None = None

    @classmethod
    def over(cls, directions: int, now_s: float, max_latency_ms: float | None) -> Watch:
        """A new watch over so many directions."""
        return cls(now_s, tuple(_Direction() for _ in range(directions)), max_latency_ms)

    @property
    def proven(self) -> bool:
        """Whether a probe has come through in every direction."""
        return all(direction.latency_ms is not None for direction in self.directions)

    @property
    def lost(self) -> bool:
        """Whether a direction has swallowed MISSES probes in a row."""
        return any(direction.missed >= MISSES for direction in self.directions)

    @property
    def slow(self) -> bool:
        """Whether the last MISSES probes of a direction all took longer than was asked for."""
        return any(direction.slow >= MISSES for direction in self.directions)

    @property
    def latency_ms(self) -> float | None:
        """The smoothed latency of the slower direction, None before it is known."""
        if not self.proven:
            return None
        return max(direction.latency_ms or 0.0 for direction in self.directions)

    def unproven_for_s(self, now_s: float) -> float:
        """How long the stitch has waited for its first probes; 0 once it is proven."""
        return 0.0 if self.proven else now_s - self.started_s

    def away_for_s(self, now_s: float) -> float:
        """For how long no probe could be sent; 0 when the last one could."""
        return 0.0 if self.away_since_s is None else now_s - self.away_since_s

    def due(self, now_s: float) -> tuple[int, ...]:
        """The directions to send a probe in now; counts those that went unanswered."""
        if now_s < self.next_s:
            return ()
        self.away_since_s = None
        self.next_s = now_s + (WATCH_EVERY_S if self.proven else PROVE_EVERY_S)
        for direction in self.directions:
            if self.proven:
                direction.missed += sum(now_s - sent_s > ANSWER_WITHIN_S for sent_s in direction.sent_s)
            waiting = [sent_s for sent_s in direction.sent_s if now_s - sent_s <= ANSWER_WITHIN_S]
            direction.sent_s = [*waiting, now_s]
        return tuple(range(len(self.directions)))

    def skip(self, now_s: float) -> None:
        """Probes could not be sent (a switch is away from the controller): what is open proves nothing."""
        self.next_s = now_s + PROVE_EVERY_S
        if self.away_since_s is None:
            self.away_since_s = now_s
        if not self.proven:
            self.started_s = now_s
        for direction in self.directions:
            direction.sent_s.clear()

    def heard(self, number: int, latency_ms: float) -> None:
        """A probe of this direction came through."""
        if number >= len(self.directions):
            return
        direction = self.directions[number]
        known = direction.latency_ms
        direction.latency_ms = latency_ms if known is None else known + _SMOOTHING * (latency_ms - known)
        direction.missed = 0
        direction.sent_s.clear()
        if self.max_latency_ms is not None:
            direction.slow = direction.slow + 1 if latency_ms > self.max_latency_ms else 0
