"""Which way a class takes between two sites, and for how long at the least: nothing swings to and fro.

When delay depends on load, whoever moves to the quicker way makes it the slower one. Three things keep that from
swinging: another way has to be better by a margin and stay so for a while; after a move nothing moves for
`hold_s`; and going back to where it was lately doubles that, up to `hold_most_s`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stitching.overlay.scoring import Part, ScoredWay

_LATELY = 10
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Steadiness:
    """`margin`: by how much (in score, 0 to 1) another way has to be better; `better_s`: for how long."""

    margin: float = 0.05
    better_s: float = 2.0
    hold_s: float = 60.0
    hold_most_s: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The way that is taken and why, all candidates with their scores (best first), and what the next needs.

    `better_since_s`: since when another has been better, None while none is; `left` are the ways before this one,
    the latest first; `relieves`: it was taken as an uplink of the one before would have been full.
    """

    taken: ScoredWay
    ranked: tuple[ScoredWay, ...]
    since_s: float
    why: str
    better_since_s: float | None = None
    left: tuple[tuple[str, ...], ...] = ()
    hold_s: float = 0.0
    relieves: bool = False

    def may_relieve(self, now_s: float) -> bool:
        """Whether it may be left for an uplink that would be full: what has been moved for one stays for a while.

        After any other move it may: what has just come to an uplink, as another was cut, may be too much for it.
        """
        return not self.relieves or now_s >= self.since_s + self.hold_s

    @property
    def order(self) -> tuple[tuple[str, ...], ...]:
        """The tunnels of all ways, the one that is taken first."""
        rest = (way.tunnels for way in self.ranked if way.tunnels != self.taken.tunnels)
        return (self.taken.tunnels, *rest)


def choose(
    before: Choice | None, scored: Sequence[ScoredWay], now_s: float, steadiness: Steadiness | None = None
) -> Choice | None:
    """Choose among scored ways; None where there are none."""
    if not scored:
        return None
    steady = steadiness or Steadiness()
    ranked = tuple(sorted(scored, key=lambda way: way.order))
    best = ranked[0]
    if before is None:
        return _first(ranked, now_s)
    here = next((way for way in ranked if way.tunnels == before.taken.tunnels), None)
    if here is None:
        return _moved(before, best, ranked, now_s, steady, "the way before is no more")
    if not here.up:
        if best.up and not before.taken.up and not before.left:
            # Nothing has gone anywhere yet: the tunnel that came up first is not to be kept as after a move.
            return _first(ranked, now_s)
        if best.up:
            return _moved(before, best, ranked, now_s, steady, "a tunnel of the way before is down")
        return replace(before, taken=here, ranked=ranked, why="no way is up", better_since_s=None)
    reason = _better(here, best, steady)
    if not reason and (straight := _straight(here, ranked)) is not None:
        best, reason = straight, "it goes straight there and is no worse"
    if not reason:
        # What has left an uplink goes on for that reason, whatever else is better by now.
        why = before.why if before.relieves else _why_stays(here, ranked)
        return replace(before, taken=here, ranked=ranked, why=why, better_since_s=None)
    since_s = now_s if before.better_since_s is None else before.better_since_s
    free_s = before.since_s + before.hold_s
    if now_s - since_s >= steady.better_s and now_s >= free_s:
        return _moved(before, best, ranked, now_s, steady, reason)
    wait_s = max(free_s - now_s, since_s + steady.better_s - now_s)
    why = f"another is better ({reason}), it moves in {wait_s:.0f} s if that lasts"
    return replace(before, taken=here, ranked=ranked, why=why, better_since_s=since_s)


def relieved(before: Choice, to: ScoredWay, now_s: float, steady: Steadiness, why: str) -> Choice:
    """The same with another way taken, as an uplink of the one before would be full."""
    return replace(_moved(before, to, before.ranked, now_s, steady, why), relieves=True)


def _first(ranked: tuple[ScoredWay, ...], now_s: float) -> Choice:
    return Choice(ranked[0], ranked, now_s, f"the best of {len(ranked)}")


def _better(here: ScoredWay, best: ScoredWay, steady: Steadiness) -> str:
    """Why the best way is worth a move, "" where it is not."""
    if best.tunnels == here.tunnels:
        return ""
    if here.flaw and best.good:
        return here.flaw
    if bool(here.flaw) == bool(best.flaw) and here.score - best.score > steady.margin:
        most = max(zip(here.parts, best.parts, strict=True), key=lambda both: _gain(*both))
        return f"{most[0].name}: score {best.score:.3f} instead of {here.score:.3f}"
    return ""


def _straight(here: ScoredWay, ranked: Sequence[ScoredWay]) -> ScoredWay | None:
    """The best way that nobody has to pass packets on for, where that costs nothing.

    Two sites are given tunnels of their own so that others are rid of what they send. To go back takes a margin.
    """
    if len(here.tunnels) == 1:
        return None
    straight = next((way for way in ranked if len(way.tunnels) == 1 and way.good), None)
    return straight if straight is not None and straight.score <= here.score else None


def _gain(here: Part, best: Part) -> float:
    return (here.cost - best.cost) * here.weight


def _moved(
    before: Choice, to: ScoredWay, ranked: tuple[ScoredWay, ...], now_s: float, steady: Steadiness, why: str
) -> Choice:
    back = to.tunnels in before.left
    lately = now_s - before.since_s < _LATELY * max(before.hold_s, steady.hold_s)
    hold_s = min(2 * max(before.hold_s, steady.hold_s), steady.hold_most_s) if back and lately else steady.hold_s
    return Choice(to, ranked, now_s, why, None, (before.taken.tunnels, *before.left)[:_REMEMBERED], hold_s)


def _why_stays(here: ScoredWay, ranked: Sequence[ScoredWay]) -> str:
    other = next((way for way in ranked if way.tunnels != here.tunnels), None)
    if other is None:
        return "it is the only one"
    if math.isclose(other.score, here.score) or other.score > here.score:
        return f"the best: {here.score:.3f}, the next has {other.score:.3f}"
    return f"{here.score:.3f} against {other.score:.3f} of the best: too little to move for"
