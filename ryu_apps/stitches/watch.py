"""Watches one stitch by its probes: when to send the next, and what the answers say."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
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
class Direction:
    """sent_s: probes without an answer so far; answered: the outcomes of the last COUNTED, oldest first.

    ends are the switches that a broadcast probe comes out at, none for one between two hosts; awaited is where the
    one that was sent at a time has not come out yet. turn is the number of those of which one is sent at a time.
    flawed_s is when the last loss was seen, flawed_since_s when the first of those counted was; slow_s and
    slow_since_s say the same of probes that took too long.
    """

    ends: frozenset[int] = frozenset()
    turn: int | None = None
    awaited: tuple[float, frozenset[int]] = (float("-inf"), frozenset())
    sent_s: deque[float] = field(default_factory=deque)
    answered: deque[bool] = field(default_factory=lambda: deque(maxlen=COUNTED))
    missed: int = 0
    latency_ms: float | None = None
    slow: int = 0
    flawed_s: float = float("-inf")
    flawed_since_s: float = float("-inf")
    slow_s: float = float("-inf")
    slow_since_s: float = float("-inf")

    def lose(self, sent_s: float) -> None:
        """The probe that was sent then never came out."""
        if not self.lost:
            self.flawed_since_s = sent_s
        self.flawed_s = sent_s
        self.answered.append(False)

    def took(self, latency_ms: float, most_ms: float, sent_s: float) -> None:
        """A probe that was sent then came out after latency_ms; most_ms were allowed."""
        if latency_ms <= most_ms:
            self.slow = 0
            return
        if not self.slow:
            self.slow_since_s = sent_s
        self.slow_s = sent_s
        self.slow += 1

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
    directions: tuple[Direction, ...]
    max_latency_ms: float | None = None
    max_loss: float | None = None
    next_s: float = 0.0
    spacing_s: float = 0.0
    tries: int = 0
    away_since_s: float | None = None
    branches: bool = False
    rounds: int = 0

    @classmethod
    def over(
        cls,
        directions: int,
        now_s: float,
        max_latency_ms: float | None,
        max_loss: float | None = None,
        *,
        floods: Sequence[tuple[int, frozenset[int]]] = (),
        branches: bool = False,
    ) -> Watch:
        """A new watch over so many directions, and behind those over broadcast: its turn, and where it comes out.

        branches: a part may be dead while the rest carries; directions are then those of pairs, two by two.
        """
        pairs = tuple(Direction() for _ in range(directions))
        broadcast = tuple(Direction(ends=ends, turn=turn) for turn, ends in floods)
        return cls(now_s, (*pairs, *broadcast), max_latency_ms, max_loss, branches=branches)

    def __post_init__(self) -> None:
        self.proven = not self.directions
        """Whether a probe has come through in every direction."""
        self._turns: dict[int, list[int]] = {}
        for number, direction in enumerate(self.directions):
            if direction.turn is not None:
                self._turns.setdefault(direction.turn, []).append(number)
        self._pairs = len(self.directions) - sum(map(len, self._turns.values()))

    def judge_by(self, max_latency_ms: float | None, max_loss: float | None) -> None:
        """Go by other limits; what was too slow by those before is forgotten."""
        if max_latency_ms != self.max_latency_ms:
            for direction in self.directions:
                direction.slow = 0
        self.max_latency_ms, self.max_loss = max_latency_ms, max_loss

    @property
    def lost(self) -> bool:
        """Whether a direction has swallowed MISSES probes in a row; with branches, one of each pair."""
        if not self.branches:
            return any(direction.missed >= MISSES for direction in self.directions)
        pairs = self.directions[: self._pairs]
        both = zip(pairs[::2], pairs[1::2], strict=True)
        return all(one.missed >= MISSES or other.missed >= MISSES for one, other in both)

    def silent(self, now_s: float) -> tuple[int, ...]:
        """The directions that nothing comes through, though it once did or has had the time to."""
        late = self.is_unproven(now_s)
        return tuple(
            number
            for number, direction in enumerate(self.directions)
            if direction.missed >= MISSES or (late and direction.latency_ms is None)
        )

    @property
    def weight(self) -> int:
        """How many probes it sends at a time."""
        return self._pairs + len(self._turns) if self.proven else len(self.directions)

    @property
    def slow(self) -> bool:
        """Whether the last MISSES probes of a direction all took longer than was asked for."""
        return any(map(self.is_slow, self.directions))

    @staticmethod
    def is_slow(direction: Direction) -> bool:
        """Whether its last MISSES probes all took longer than was asked for."""
        return direction.slow >= MISSES

    @property
    def lossy(self) -> bool:
        """Whether a direction lost a greater share than was asked for, and MISSES probes at least."""
        return any(map(self.is_lossy, self.directions))

    def is_lossy(self, direction: Direction) -> bool:
        """Whether it lost a greater share than was asked for, and MISSES probes at least."""
        if self.max_loss is None or direction.lost < MISSES:
            return False
        return direction.lost > self.max_loss * len(direction.answered)

    @property
    def every_s(self) -> float:
        """How often it is probed once it is proven."""
        return max(WATCH_EVERY_S if self.max_loss is None else COUNT_EVERY_S, self.spacing_s)

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

    def is_dead(self, now_s: float) -> bool:
        """Whether nothing carries any more."""
        if not self.branches or not self.is_unproven(now_s):
            return self.lost or self.is_unproven(now_s)
        silent = self.silent(now_s)
        return all(number in silent or number + 1 in silent for number in range(0, self._pairs, 2))

    def away_for_s(self, now_s: float) -> float:
        """For how long no probe could be sent; 0 when the last one could."""
        return 0.0 if self.away_since_s is None else now_s - self.away_since_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for probes, or to see whether its switches are there and whether it is proven."""
        return now_s >= self.next_s or self.is_restless

    @property
    def is_restless(self) -> bool:
        """Whether it is to be looked at however long its next probes are away."""
        return not self.proven or self.away_since_s is not None

    def due(self, now_s: float, heard_s: float | None = None, away: Collection[int] = ()) -> tuple[int, ...]:
        """The directions to send a probe in now; counts those that went unanswered.

        heard_s: what came until then was looked at; all, without. In those that are away none can be sent: what is
        open there proves nothing.
        """
        heard_s = now_s if heard_s is None else heard_s
        if now_s < self.next_s:
            return ()
        self.away_since_s = None
        soon_s = PROVE_EVERY_S * 2 ** min(self.tries, _DOUBLINGS)
        self.next_s = now_s + (self.every_s if self.proven else max(soon_s, self.spacing_s))
        self.tries += 1
        chosen = tuple(number for number in self._chosen() if number not in away)
        for number in away:
            self.directions[number].sent_s.clear()
        for direction in (self.directions[number] for number in chosen):
            while direction.sent_s and heard_s - direction.sent_s[0] > ANSWER_WITHIN_S:
                lost_s = direction.sent_s.popleft()
                if self.proven or (self.branches and direction.latency_ms is not None):
                    direction.missed += 1
                    direction.lose(lost_s)
            direction.sent_s.append(now_s)
        return chosen

    def _chosen(self) -> tuple[int, ...]:
        """All directions, but of those that take turns only the next one once all are proven."""
        if not self.proven or not self._turns:
            return tuple(range(len(self.directions)))
        self.rounds += 1
        return (
            *range(self._pairs),
            *(numbers[self.rounds % len(numbers)] for numbers in self._turns.values()),
        )

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

    def heard(self, number: int, latency_ms: float, sent_s: float | None = None, end: int | None = None) -> None:
        """A probe of this direction came through; those that were sent before it (sent_s) and did not are lost.

        One of broadcast has come through when it has come out at every one of its ends, the last of which counts.
        """
        if number >= len(self.directions) or not self._is_whole(self.directions[number], sent_s, end):
            return
        direction = self.directions[number]
        known = direction.latency_ms
        direction.latency_ms = latency_ms if known is None else known + _SMOOTHING * (latency_ms - known)
        direction.missed = 0
        if sent_s is None:
            direction.sent_s.clear()
        while direction.sent_s and sent_s is not None and direction.sent_s[0] <= sent_s + _ROUNDING_S:
            earlier_s = direction.sent_s.popleft()
            if earlier_s < sent_s - _ROUNDING_S and known is not None:
                direction.lose(earlier_s)
        direction.answered.append(True)
        self.proven = self.proven or all(other.latency_ms is not None for other in self.directions)
        if self.max_latency_ms is not None:
            direction.took(latency_ms, self.max_latency_ms, float("-inf") if sent_s is None else sent_s)

    @staticmethod
    def _is_whole(direction: Direction, sent_s: float | None, end: int | None) -> bool:
        """Whether nothing of a probe is awaited any more, now that it came out at this end."""
        if not direction.ends or sent_s is None or end is None:
            return True
        last_s, awaited = direction.awaited
        if sent_s < last_s:
            return False
        left = (awaited if sent_s == last_s else direction.ends) - {end}
        direction.awaited = sent_s, left
        return not left and not (sent_s == last_s and not awaited)
