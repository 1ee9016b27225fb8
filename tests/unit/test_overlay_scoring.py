"""What ways are worth, why one is taken, and that choices do not swing."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.overlay.candidates import Graph, TunnelView
from stitching.overlay.choosing import Choice, Steadiness, choose
from stitching.overlay.measures import Measured, rtt_cost, smoothed
from stitching.overlay.scoring import AppClass, Hop, ScoredWay, Weights, score

VOICE = AppClass("voice", Weights(latency=3, loss=3, bandwidth=0, price=0), max_loss=0.02)
BULK = AppClass("bulk", Weights(latency=0, loss=0.5, bandwidth=1, price=3))


def hop(name: str, rtt_ms: float | None, loss: float = 0.0, price: float = 0.0, *, up: bool = True) -> Hop:
    return Hop(name, 1, 2, Measured(rtt_ms, 0.0, loss, 0.0), price, up)


def scored(*hops: Hop, app: AppClass = VOICE) -> list[ScoredWay]:
    return [score([one], app, {}) for one in hops]


def test_a_round_trip_costs_linearly_between_two_bounds() -> None:
    assert [rtt_cost(ms, 10, 110) for ms in (0, 10, 60, 110, 10_000)] == [0, 0, 0.5, 1, 1]


def test_a_sample_counts_half_after_a_half_life() -> None:
    after = smoothed(Measured(rtt_ms=10, at_s=0), Measured(rtt_ms=20, at_s=4), half_life_s=4)
    assert after.rtt_ms == 15 and after.loss_in is None


def test_a_clean_way_over_a_relay_beats_a_lossy_straight_one() -> None:
    straight = score([hop("d", 20, loss=0.05)], VOICE, {})
    over = score([hop("a", 15), hop("b", 15)], VOICE, {2: 0.2})
    assert over.order < straight.order
    assert "5.0 %" in straight.flaw and over.good


def test_classes_want_different_ways() -> None:
    quick, cheap = hop("quick", 20, price=0.2), hop("cheap", 90)
    assert min(scored(quick, cheap), key=lambda way: way.order).tunnels == ("quick",)
    assert min(scored(quick, cheap, app=BULK), key=lambda way: way.order).tunnels == ("cheap",)


def test_what_nobody_measured_is_not_good() -> None:
    assert score([hop("new", None)], VOICE, {}).score > score([hop("far", 150)], VOICE, {}).score


def test_a_busy_relay_and_a_narrow_tunnel_cost() -> None:
    idle, busy = (score([hop("a", 15), hop("b", 15)], VOICE, {2: load}) for load in (0.1, 0.9))
    assert idle.score < busy.score
    narrow, wide = (score([hop("a", 15)], BULK, {}, mbps, 100.0) for mbps in (95.0, 10.0))
    assert wide.score < narrow.score


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=3))
def test_scores_and_their_parts_are_from_0_to_1(figures: list[tuple[float, float, float]]) -> None:
    way = score([hop(str(place), *one) for place, one in enumerate(figures)], VOICE, {2: 0.5}, 50.0, 60.0)
    assert 0 <= way.score <= 1
    assert all(0 <= part.cost <= 1 for part in way.parts)
    total = sum(part.weight for part in way.parts)
    assert math.isclose(way.score, sum(part.cost * part.weight for part in way.parts) / total)


def test_ways_go_straight_or_across_those_that_pass_on_and_nobody_else() -> None:
    pairs = [(1, 2), (1, 8), (8, 2), (1, 9), (9, 2), (8, 9), (1, 3), (3, 2)]
    graph = Graph([TunnelView(f"{a}-{b}", a, b, Measured(10.0 * b, 0, 0, 0)) for a, b in pairs], [8, 9])
    ways = {tuple(one.dst for one in way) for way in graph.ways(1, 2, k=10)}
    assert ways == {(2,), (8, 2), (9, 2), (8, 9, 2), (9, 8, 2)}
    assert graph.ways(1, 77) == ()


def test_a_straight_tunnel_is_a_candidate_also_when_it_is_down() -> None:
    graph = Graph([TunnelView("a", 1, 2, up=False), TunnelView("b", 1, 2)], [])
    assert {way[0].tunnel for way in graph.ways(1, 2, k=1)} == {"a", "b"}


STEADY = Steadiness(margin=0.05, better_s=2.0, hold_s=60.0)


def test_the_better_way_is_taken_when_it_stays_better_and_says_why() -> None:
    choice = choose(None, scored(hop("a", 20), hop("b", 50)), 0.0, STEADY)
    worse = scored(hop("a", 120), hop("b", 50))
    choice = choose(choice, worse, 100.0, STEADY)
    assert choice is not None and choice.taken.tunnels == ("a",) and "moves in 2 s" in choice.why
    choice = choose(choice, worse, 102.0, STEADY)
    assert choice is not None and choice.taken.tunnels == ("b",) and choice.why.startswith("latency: score")
    assert [way.tunnels for way in choice.ranked] == [("b",), ("a",)]


def test_tunnels_of_their_own_are_taken_though_they_are_little_better_and_left_for_a_reason_only() -> None:
    over = score([hop("a", 15), hop("b", 15)], VOICE, {})
    slow, straight = (score([hop("own", ms)], VOICE, {}) for ms in (34, 29))
    choice = choose(None, [over], 0.0)
    for second in range(200):
        choice = choose(choice, [over, slow], float(second))
    assert choice is not None and choice.taken is over
    for second in range(200, 210):
        choice = choose(choice, [over, straight], float(second))
    assert choice is not None and choice.taken is straight and choice.left == (over.tunnels,)
    for second in range(210, 600):
        choice = choose(choice, [over, slow], float(second))
    assert choice is not None and choice.taken is slow


def test_the_tunnel_that_comes_up_first_is_left_as_soon_as_a_better_one_is_seen_to_be() -> None:
    choice = choose(None, scored(hop("a", 20, up=False), hop("b", 50, up=False)), 0.0, STEADY)
    choice = choose(choice, scored(hop("a", 20, up=False), hop("b", 50)), 0.5, STEADY)
    assert choice is not None and choice.taken.tunnels == ("b",)
    for second in (1.0, 3.0):
        choice = choose(choice, scored(hop("a", 20), hop("b", 50)), second, STEADY)
    assert choice is not None and choice.taken.tunnels == ("a",)
    # From then on it is held, also as what it has left is down for a while.
    dead = choose(choice, scored(hop("a", 20, up=False), hop("b", 50)), 10.0, STEADY)
    assert dead is not None and dead.hold_s == 120.0


def test_a_dead_way_is_left_at_once_and_a_little_better_is_no_reason() -> None:
    choice = choose(None, scored(hop("a", 20), hop("b", 50)), 0.0, STEADY)
    left = choose(choice, scored(hop("a", 20, up=False), hop("b", 50)), 0.1, STEADY)
    assert left is not None and left.taken.tunnels == ("b",)
    stays = choose(choice, scored(hop("a", 25), hop("b", 20)), 100.0, STEADY)
    assert stays is not None and "too little to move for" in stays.why


@given(st.lists(st.tuples(st.floats(5, 300), st.floats(5, 300), st.floats(5, 300)), min_size=300, max_size=600))
@settings(max_examples=12, deadline=None)
def test_whatever_the_delays_do_it_moves_once_a_minute_at_most(delays: list[tuple[float, float, float]]) -> None:
    choice: Choice | None = None
    moves = []
    for second, (a, b, c) in enumerate(delays):
        before, choice = (
            choice,
            choose(choice, scored(hop("a", a), hop("b", b), hop("c", c)), float(second), STEADY),
        )
        if before is not None and choice is not None and before.taken.tunnels != choice.taken.tunnels:
            moves.append(second)
    # The first move is free, each one after it has to wait.
    assert all(later - sooner >= 60 for sooner, later in itertools.pairwise(moves))


@given(
    base=st.tuples(st.floats(10, 60), st.floats(10, 60)),
    slope=st.tuples(st.floats(0, 250), st.floats(0, 250)),
    noise=st.lists(st.floats(-5, 5), min_size=50, max_size=50),
)
@settings(max_examples=6, deadline=None)
def test_delay_that_depends_on_load_does_not_make_it_swing(
    base: tuple[float, float], slope: tuple[float, float], noise: list[float]
) -> None:
    """Whichever way all traffic is on is the slow one: without memory this swings for ever."""
    choice: Choice | None = None
    seen: dict[str, Measured] = {}
    moves = []
    for second in range(4 * 3600 // 2):
        now_s = 2.0 * second
        for place, name in enumerate("ab"):
            loaded = choice is not None and choice.taken.tunnels == (name,)
            rtt_ms = max(1.0, base[place] + slope[place] * loaded + noise[(second + place) % 50])
            seen[name] = smoothed(seen.get(name), Measured(rtt_ms, 0.0, 0.0, 0.0, now_s))
        ways = [score([Hop(name, 1, 2, seen[name])], VOICE, {}) for name in "ab"]
        before, choice = choice, choose(choice, ways, now_s, STEADY)
        if before is not None and choice is not None and before.taken.tunnels != choice.taken.tunnels:
            moves.append(now_s)
    # Each time it comes back the hold doubles, up to half an hour.
    assert len(moves) <= 14
    assert sum(at > 2 * 3600 for at in moves) <= 4
