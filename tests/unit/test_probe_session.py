"""Two ends of a liveness session agree on what is alive, each direction on its own, whatever the network does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vte_agent.probing.liveness_wire import Flag, Heard, Probe, State
from vte_agent.probing.session import HOLD_S, IDLE_FACTOR, Direction, Need, Session
from vte_agent.protocol.wanted import Liveness

STEP_S = 0.001
LIVENESS = Liveness(interval_ms=50, multiplier=3)
DETECTION_S = 0.15
FOR_EVER_S = 10.0


class Pair:
    """Two ends, a and b, of two tunnels; a way between them delivers or not. Time goes by milliseconds."""

    def __init__(self, liveness: Liveness = LIVENESS, delay_s: float = 0.005) -> None:
        self.now_s = 100.0
        self.delay_s = delay_s
        self.open = {(tunnel, end): True for tunnel in (0, 1) for end in "ab"}
        self.ends = {
            end: [Session(first + tunnel, liveness, self.now_s) for tunnel in (0, 1)]
            for first, end in ((1, "a"), (11, "b"))
        }
        self.under_way: list[tuple[float, int, str, Probe]] = []
        self.sent: dict[tuple[int, str], list[float]] = {key: [] for key in self.open}

    def step(self, late_s: float = 0.0, asleep: str = "") -> None:
        """A millisecond; `asleep` neither hears nor sends in it."""
        self.now_s += STEP_S
        for end in set("ab") - set(asleep):
            other = "b" if end == "a" else "a"
            due = [w for w in self.under_way if w[2] == end and w[0] <= self.now_s]
            self.under_way = [w for w in self.under_way if w not in due]
            for at_s, tunnel, _, probe in due:
                self.ends[end][tunnel].hear(probe, at_s)
                for heard in probe.others:
                    for session in self.ends[end]:
                        if session.discriminator == heard.discriminator:
                            session.told(heard, at_s, self.ends[end][tunnel].interval_s)
            for tunnel, session in enumerate(self.ends[end]):
                session.judge(self.now_s, late_s)
                if session.due_s <= self.now_s:
                    told = self.ends[end][1 - tunnel].last_heard(self.now_s)
                    probe = session.probe(self.now_s, (told,) if told else ())
                    self.sent[tunnel, end].append(self.now_s)
                    if self.open[tunnel, other]:
                        self.under_way.append((self.now_s + self.delay_s, tunnel, other, probe))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """How long it took; fails when it takes longer."""
        began_s = self.now_s
        while not condition():
            assert self.now_s - began_s <= within_s
            self.step()
        return self.now_s - began_s

    def is_(self, end: str, heard: Direction, hears: Direction, tunnel: int = 0) -> bool:
        alive = self.ends[end][tunnel].alive(self.now_s)
        return (alive.heard, alive.hears) == (heard, hears)


ALIVE, DEAD, HELD = Direction.ALIVE, Direction.DEAD, Direction.HELD


def up(**words: float) -> Pair:
    pair = Pair(**words)  # type: ignore[arg-type]
    pair.until(lambda: pair.is_("a", ALIVE, ALIVE) and pair.is_("b", ALIVE, ALIVE), 0.2)
    pair.run(0.5)
    return pair


def gaps(pair: Pair, seconds: float) -> list[float]:
    sent = pair.sent[0, "a"]
    sent.clear()
    pair.run(seconds)
    return [b - a for a, b in pairwise(sent)]


def test_a_new_session_is_alive_after_a_round_trip() -> None:
    up()


def test_nobody_there_is_unknown_first_and_dead_then() -> None:
    pair = Pair()
    pair.open = dict.fromkeys(pair.open, False)
    pair.run(0.5)
    assert pair.is_("a", Direction.UNKNOWN, Direction.UNKNOWN)
    pair.run(1.0)
    assert pair.is_("a", DEAD, DEAD)


def test_what_nobody_has_answered_yet_is_probed_less() -> None:
    pair = Pair()
    pair.open = dict.fromkeys(pair.open, False)
    assert min(gaps(pair, 2.0)) >= IDLE_FACTOR * 0.05 - 2 * STEP_S
    pair.open = dict.fromkeys(pair.open, True)
    pair.until(lambda: pair.is_("a", ALIVE, ALIVE) and pair.is_("b", ALIVE, ALIVE), 0.3)
    pair.run(0.1)
    assert max(gaps(pair, 1.0)) <= 0.05 + 2 * STEP_S


def test_who_hears_from_the_first_on_and_is_not_heard_holds_the_other_for_alive() -> None:
    pair = Pair()
    pair.open[0, "a"] = False
    pair.until(lambda: pair.ends["b"][0].alive(pair.now_s).hears is ALIVE, 0.3)
    for _ in range(2000):
        pair.step()
        assert pair.ends["b"][0].alive(pair.now_s).hears is ALIVE
    assert pair.is_("a", ALIVE, DEAD)


@pytest.mark.parametrize("phase_ms", range(0, 50, 7))
def test_a_cut_is_found_at_both_ends_within_the_detection_time(phase_ms: int) -> None:
    pair = up()
    pair.run(phase_ms / 1e3)
    pair.open[0, "a"] = pair.open[0, "b"] = False
    took_s = pair.until(lambda: pair.is_("a", DEAD, DEAD) and pair.is_("b", DEAD, DEAD), 0.2)
    assert took_s <= DETECTION_S + 2 * pair.delay_s + 0.035
    assert pair.is_("a", ALIVE, ALIVE, tunnel=1)


@pytest.mark.parametrize("phase_ms", range(0, 50, 7))
def test_loss_one_way_is_dead_for_the_sender_only(phase_ms: int) -> None:
    pair = up()
    pair.run(phase_ms / 1e3)
    pair.open[0, "b"] = False
    pair.until(lambda: pair.is_("a", DEAD, ALIVE), DETECTION_S + 0.05)
    for _ in range(1000):
        pair.step()
        assert pair.is_("b", ALIVE, DEAD) or pair.ends["b"][0].alive(pair.now_s).heard is ALIVE


def test_without_another_tunnel_nothing_is_known_of_the_way_out() -> None:
    pair = up()
    pair.open[0, "b"] = pair.open[1, "a"] = pair.open[1, "b"] = False
    pair.until(lambda: pair.is_("b", DEAD, DEAD), 0.4)


def test_what_was_dead_has_to_show_that_it_stays() -> None:
    pair = up()
    pair.open[0, "b"] = False
    pair.run(0.5)
    pair.open[0, "b"] = True
    pair.until(lambda: pair.is_("a", HELD, ALIVE), 0.2)
    took_s = pair.until(lambda: pair.is_("a", ALIVE, ALIVE), HOLD_S + 0.2)
    assert took_s >= HOLD_S - 2 * STEP_S


def test_a_late_timer_of_our_own_kills_nobody() -> None:
    pair = up()
    late_s = 0.4
    for _ in range(round(late_s / STEP_S)):
        # Nothing runs here meanwhile, and what this machine should have passed on to us is lost.
        pair.step(asleep="a")
    pair.under_way = [w for w in pair.under_way if w[2] != "a"]
    pair.step(late_s=late_s)
    assert pair.ends["a"][0].alive(pair.now_s).hears is ALIVE
    pair.run(0.3)
    assert pair.ends["a"][0].alive(pair.now_s).hears is ALIVE


def test_a_dead_tunnel_is_found_although_every_timer_is_late() -> None:
    pair = up()
    pair.open[0, "a"] = pair.open[0, "b"] = False
    for _ in range(1000):
        pair.step(late_s=STEP_S * 0.8)
    assert pair.is_("a", DEAD, DEAD)


def test_a_tunnel_that_neither_end_needs_is_probed_less() -> None:
    pair = up()
    for end in "ab":
        pair.ends[end][0].need(Need.IDLE, pair.now_s)
    pair.run(1.0)
    assert min(gaps(pair, 2.0)) >= IDLE_FACTOR * 0.05 - 2 * STEP_S
    assert pair.is_("a", ALIVE, ALIVE) and pair.is_("b", ALIVE, ALIVE)
    pair.ends["b"][0].need(Need.USED, pair.now_s)
    pair.run(0.1)
    assert max(gaps(pair, 1.0)) <= 0.05 + 2 * STEP_S


@pytest.mark.parametrize("need", [Need.USED, Need.NEXT])
def test_a_tunnel_that_one_end_needs_is_probed_at_the_full_rate(need: Need) -> None:
    pair = up()
    pair.ends["a"][0].need(Need.IDLE, pair.now_s)
    pair.ends["b"][0].need(need, pair.now_s)
    pair.run(1.0)
    assert max(gaps(pair, 1.0)) <= 0.05 + 2 * STEP_S


def test_both_ends_probe_as_often_as_the_slower_wants() -> None:
    pair = Pair()
    pair.ends["b"] = [Session(11 + tunnel, Liveness(interval_ms=200), pair.now_s) for tunnel in (0, 1)]
    pair.run(1.0)
    assert pair.is_("a", ALIVE, ALIVE)
    assert min(gaps(pair, 2.0)) >= 0.2 - 2 * STEP_S
    assert pair.is_("a", ALIVE, ALIVE)


def test_an_end_that_began_again_is_met_again() -> None:
    pair = up()
    pair.ends["b"] = [Session(21 + tunnel, LIVENESS, pair.now_s) for tunnel in (0, 1)]
    pair.run(0.3)
    assert pair.is_("b", ALIVE, ALIVE)
    pair.run(HOLD_S + 0.2)
    assert pair.is_("a", ALIVE, ALIVE)


def test_an_old_probe_that_comes_again_changes_nothing() -> None:
    pair = up()
    old = pair.ends["b"][0].probe(pair.now_s)
    pair.run(1.0)
    pair.open[0, "a"] = False
    for _ in range(500):
        pair.step()
        pair.ends["a"][0].hear(old, pair.now_s)
    assert pair.ends["a"][0].alive(pair.now_s).hears is DEAD


def test_lost_probes_are_counted_by_the_end_they_were_sent_to() -> None:
    pair = up()
    pair.ends["a"][0].take_out_counts()
    before = len(pair.sent[0, "a"])
    for number in range(100):
        pair.open[0, "b"] = number % 4 != 0
        pair.run(0.05)
    sent, lost = pair.ends["a"][0].take_out_counts()
    assert abs(sent - (len(pair.sent[0, "a"]) - before)) <= 3
    assert 15 <= lost <= 35


class Weather(RuleBasedStateMachine):
    """Links go down and come up in any order, needs change, timers oversleep."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    @rule(tunnel=st.sampled_from([0, 1]), end=st.sampled_from("ab"), is_open=st.booleans())
    def weather(self, tunnel: int, end: str, is_open: bool) -> None:
        self.pair.open[tunnel, end] = is_open

    @rule(tunnel=st.sampled_from([0, 1]), end=st.sampled_from("ab"), need=st.sampled_from(Need))
    def need(self, tunnel: int, end: str, need: Need) -> None:
        self.pair.ends[end][tunnel].need(need, self.pair.now_s)

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.2, 0.6]))
    def goes_by(self, seconds: float) -> None:
        self.pair.run(seconds)

    @rule(end=st.sampled_from("ab"), seconds=st.sampled_from([0.01, 0.1, 0.3]))
    def sleeps(self, end: str, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.pair.step(asleep=end)

    @rule()
    def in_the_end_it_is_as_the_weather_is(self) -> None:
        self.pair.run(4.0)
        for end, other in (("a", "b"), ("b", "a")):
            for tunnel in (0, 1):
                alive = self.pair.ends[end][tunnel].alive(self.pair.now_s)
                assert alive.hears is (ALIVE if self.pair.open[tunnel, end] else DEAD)
                told = any(self.pair.open[t, end] for t in (0, 1))
                assert alive.heard is (ALIVE if self.pair.open[tunnel, other] and told else DEAD)

    @invariant()
    def an_end_says_what_it_knows(self) -> None:
        for sessions in self.pair.ends.values():
            for session in sessions:
                assert session.due_s <= self.pair.now_s + IDLE_FACTOR * 0.05 + STEP_S


Weather.TestCase.settings = settings(max_examples=25, stateful_step_count=12)
TestWeather = Weather.TestCase


PROBES = st.builds(
    Probe,
    *(st.sampled_from(State), st.sampled_from([Flag.NONE, *Flag]), st.integers(1, 255)),
    *(st.integers(1, 2**32 - 1) for _ in range(2)),
    *(st.integers(0, 2**32 - 1) for _ in range(4)),
    st.floats(0, 7),
)


@given(st.lists(st.tuples(PROBES, st.floats(0, 1)), max_size=30))
def test_no_probe_whatever_it_says_breaks_a_session(heard: list[tuple[Probe, float]]) -> None:
    session, now_s = Session(7, LIVENESS, 0.0), 0.0
    for probe, later_s in heard:
        now_s += later_s
        session.hear(probe, now_s)
        session.told(Heard(7, probe.heard_sequence, probe.held_s), now_s, 0.05)
        session.judge(now_s)
        session.alive(now_s)
        session.probe(now_s)
        assert session.due_s >= now_s
