"""A link that does badly now and then, with the agent's loop and the controller's choices at work on one route.

Each of both bounds its own moves; here they have to do so together.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stitching.overlay.choosing import Choice, choose
from stitching.overlay.measures import Measured, smoothed
from stitching.overlay.scoring import AppClass, Hop, score
from tests.unit.test_failover import KEY, health, route
from vte_agent.failover import QUALITY_MOVES_APART_S, Failover
from vte_agent.probing.quality import DelayWatch
from vte_agent.probing.tunnel_probes import Limits

STEP_S, CONTROLLER_EVERY_S = 0.1, 5.0
WITHIN_S = 3.0
USUAL_MS = {"t1": 20.0, "t2": 80.0}
RISE_MS = 150.0
_KEPT = 0.125


class Site:
    """A route over two tunnels, the first of which is now slow, now not."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.failover = Failover()
        self.failover.want([route("t1", "t2")])
        self.slow = False
        self.moves_s: list[float] = []
        self._watches = {name: DelayWatch(Limits().rise_ms) for name in USUAL_MS}
        self._ewma_ms = dict(USUAL_MS)
        self._measured: dict[str, Measured] = {}
        self._choice: Choice | None = None
        self._asked_s = self.now_s

    @property
    def taken(self) -> str | None:
        return self.failover.taken()[KEY]

    def goes_by(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += STEP_S
            for name, watch in self._watches.items():
                rtt_ms = self._rtt_ms(name)
                self._ewma_ms[name] += _KEPT * (rtt_ms - self._ewma_ms[name])
                watch.add(self.now_s, rtt_ms, self._ewma_ms[name])
            if self.now_s - self._asked_s >= CONTROLLER_EVERY_S:
                self._asked_s = self.now_s
                self._controller()
            self._agent()

    def _rtt_ms(self, name: str) -> float:
        return USUAL_MS[name] + RISE_MS * (self.slow and name == "t1")

    def _controller(self) -> None:
        for name in USUAL_MS:
            sample = Measured(self._ewma_ms[name], 0.1, 0.0, 0.0, self.now_s)
            self._measured[name] = smoothed(self._measured.get(name), sample)
        ways = [score([Hop(name, 1, 2, self._measured[name])], AppClass("any"), {}) for name in USUAL_MS]
        self._choice = choose(self._choice, ways, self.now_s)
        assert self._choice is not None
        self.failover.want([route(*(name for (name,) in self._choice.order))])

    def _agent(self) -> None:
        healths = {name: health(bad="slow" if watch.is_bad else "") for name, watch in self._watches.items()}
        self.moves_s += [self.now_s for _ in self.failover.step(self.now_s, healths)]


def begun() -> Site:
    site = Site()
    site.goes_by(120.0)
    assert site.taken == "t1"
    site.moves_s.clear()
    return site


def apart(moves_s: Iterable[float]) -> bool:
    return all(later - sooner >= QUALITY_MOVES_APART_S - STEP_S for sooner, later in pairwise(moves_s))


def test_a_slow_tunnel_is_left_within_three_seconds() -> None:
    site = begun()
    site.slow = True
    site.goes_by(WITHIN_S)
    assert site.taken == "t2"


def test_one_that_is_well_again_is_taken_again_after_a_while() -> None:
    site = begun()
    site.slow = True
    site.goes_by(30.0)
    site.slow = False
    site.goes_by(20.0)
    assert site.taken == "t2"
    site.goes_by(600.0)
    assert site.taken == "t1"
    assert apart(site.moves_s)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 90), st.floats(0.5, 90)), min_size=1, max_size=10))
@example([(5.0, 40.0)] * 8)
@example([(2.0, 60.0), (30.0, 31.0), (30.0, 31.0)])
def test_whatever_it_does_both_together_move_the_route_once_a_minute_at_most(
    times: list[tuple[float, float]],
) -> None:
    site = begun()
    for slow_s, well_s in times:
        for site.slow, seconds in ((True, slow_s), (False, well_s)):
            site.goes_by(seconds)
    assert apart(site.moves_s)
