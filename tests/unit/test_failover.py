"""Routes leave dead tunnels at once and bad ones rarely, come back late, and never take what is not theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vte_agent.failover import GRACE_S, QUALITY_MOVES_APART_S, RETURN_AFTER_S, Failover, Move
from vte_agent.probing.session import Alive, Direction, Need
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.wanted import WantedRoute

PREFIX = ip_network("10.2.0.0/16")
KEY = (PREFIX, None)
STEP_S = 0.5
ALIVE, DEAD, HELD, UNKNOWN = Direction.ALIVE, Direction.DEAD, Direction.HELD, Direction.UNKNOWN


def route(*tunnels: str) -> WantedRoute:
    return WantedRoute(prefixes=(PREFIX,), tunnels=tunnels)


def health(heard: Direction = ALIVE, bad: str = "", fresh: bool = True, hears: Direction = ALIVE) -> TunnelHealth:
    return TunnelHealth(Alive(heard=heard, hears=hears, fresh=fresh), bad)


class Clock:
    """One route, and time that goes by in steps of half a second as the agent's would."""

    def __init__(self, *tunnels: str, taken: Mapping[str, str] | None = None) -> None:
        self.now_s = 1000.0
        self.failover = Failover({KEY: taken[""]} if taken else None)
        self.failover.want([route(*tunnels)])
        self.healths = {name: health() for name in tunnels}
        self.moves: list[tuple[float, Move]] = []

    def step(self, seconds: float = 0.0) -> tuple[Move, ...]:
        until_s = self.now_s + seconds
        made: tuple[Move, ...] = ()
        while True:
            moved = self.failover.step(self.now_s, self.healths)
            self.moves += [(self.now_s, move) for move in moved]
            made += moved
            if self.now_s + STEP_S > until_s + 1e-6:
                return made
            self.now_s += STEP_S

    def set(self, **healths: TunnelHealth) -> None:
        self.healths |= healths

    @property
    def taken(self) -> str | None:
        return self.failover.taken()[KEY]


def test_the_first_that_answers_is_taken_and_the_best_once_it_does() -> None:
    clock = Clock("t1", "t2")
    clock.set(t1=health(UNKNOWN))
    clock.step()
    assert clock.taken == "t2"
    clock.set(t1=health())
    clock.step(1.5)
    assert clock.taken == "t1"


def test_a_dead_tunnel_is_left_at_once() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(DEAD, hears=DEAD))
    (move,) = clock.step()
    assert move == Move(KEY, "t2", "t1: the other end is silent")


def test_one_that_does_not_carry_our_packets_is_dead_although_theirs_come() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(DEAD, hears=ALIVE))
    (move,) = clock.step()
    assert (move.to, move.why) == ("t2", "t1: the other end does not hear us")


def test_one_whose_packets_do_not_come_is_kept_as_long_as_it_carries_ours() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(ALIVE, hears=DEAD))
    assert clock.step(5) == ()


def test_a_tunnel_that_is_about_to_be_found_dead_is_not_fled_to() -> None:
    clock = Clock("t1", "t2", "t3")
    clock.step(1)
    clock.set(t1=health(DEAD), t2=health(fresh=False))
    clock.step()
    assert clock.taken == "t3"


def test_with_nothing_alive_the_route_goes_nowhere_and_says_why() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(DEAD, hears=DEAD), t2=health(DEAD, hears=DEAD))
    assert clock.step(GRACE_S - 1) == () and clock.taken == "t1"
    (move,) = clock.step(5)
    assert move.to is None and "t1: the other end is silent; t2" in move.why
    assert clock.failover.report()[0].tunnel is None


def test_what_has_just_come_back_is_better_than_nothing() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(DEAD), t2=health(DEAD))
    clock.step(GRACE_S + 1)
    clock.set(t1=health(HELD), t2=health(HELD))
    assert len(clock.step(3)) == 1 and clock.taken == "t1"


def test_an_other_end_that_is_silent_everywhere_for_a_moment_moves_nothing() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    for health_now in (health(DEAD, hears=DEAD), health(HELD), health()):
        clock.set(t1=health_now, t2=health_now)
        assert clock.step(GRACE_S / 2) == () and clock.taken == "t1"


def test_what_died_only_just_now_is_better_than_nothing_where_the_controller_takes_away_what_is_taken() -> None:
    """As at a relay, when the controller thinks the other way round by a moment too old to be true."""
    clock = Clock("t1", "t2", "around")
    clock.step(1)
    clock.set(t1=health(DEAD), t2=health(DEAD))
    clock.step()
    assert clock.taken == "around"
    clock.failover.want([route("t1", "t2")])
    (move,) = clock.step()
    assert move.to == "t1" and "t1 was just now" in move.why
    (move,) = clock.step(GRACE_S + 1)
    assert move.to is None


def test_a_tunnel_that_was_taken_away_carries_nothing_any_longer() -> None:
    clock = Clock("t1")
    clock.step(1)
    clock.healths.clear()
    (move,) = clock.step(1)
    assert move.to is None


def test_it_returns_after_a_while_and_later_each_time() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    waits = []
    for _ in range(3):
        clock.set(t1=health(DEAD))
        clock.step(1)
        clock.set(t1=health())
        came_back_s = clock.now_s
        while clock.taken == "t2":
            clock.step(1)
        waits.append(clock.now_s - came_back_s)
        clock.step(1)
    assert waits[0] >= RETURN_AFTER_S and waits[2] >= 4 * RETURN_AFTER_S - 1
    assert waits == sorted(waits)


def test_a_bad_tunnel_is_left_for_a_good_one_and_not_for_another_bad_one() -> None:
    clock = Clock("t1", "t2", "t3")
    clock.step(5)
    clock.set(t1=health(bad="loses 5 % or more"), t2=health(bad="loses 5 % or more"))
    (move,) = clock.step(1)
    assert (move.to, move.why) == ("t3", "t1 loses 5 % or more")


def test_what_the_controller_wants_is_done_at_once() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.failover.want([route("t2", "t1")])
    (move,) = clock.step()
    assert (move.to, move.why) == ("t2", "the controller wants it so")


def test_what_the_controller_wants_is_done_as_soon_as_that_has_been_well_for_long_enough() -> None:
    """As where it was bad for a moment when it came up: the order is not forgotten, and waits for no minute."""
    clock = Clock("t1", "t2")
    clock.set(t2=health(bad="takes 50 ms more than it did"))
    clock.step(1)
    clock.set(t2=health())
    clock.step(1)
    clock.failover.want([route("t2", "t1")])
    assert clock.step(RETURN_AFTER_S / 2) == ()
    (move,) = clock.step(RETURN_AFTER_S / 2)
    assert (move.to, move.why) == ("t2", "the controller wants it so")


def test_a_new_tunnel_takes_over_when_it_has_come_up_and_not_before() -> None:
    clock = Clock("t1")
    clock.step(5)
    clock.failover.want([route("new", "t1")])
    clock.set(new=health(UNKNOWN))
    assert clock.step(5) == ()
    clock.set(new=health())
    assert [move.to for move in clock.step(2)] == ["new"]


def test_a_tunnel_that_is_not_wanted_any_more_is_left() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.failover.want([route("t2")])
    (move,) = clock.step()
    assert (move.to, move.why) == ("t2", "t1: not wanted any more")


def test_what_an_earlier_run_left_is_kept_until_something_is_known_of_it() -> None:
    clock = Clock("t1", "t2", taken={"": "t2"})
    clock.set(t1=health(UNKNOWN), t2=health(UNKNOWN))
    assert clock.step(1) == () and clock.taken == "t2"
    clock.set(t2=health(DEAD))
    assert clock.step(GRACE_S - 1) == () and clock.taken == "t2"
    clock.step(2)
    assert clock.taken is None


def test_a_tunnel_that_is_made_anew_is_left_for_one_that_is_alive() -> None:
    clock = Clock("t1", "t2")
    clock.step(1)
    clock.set(t1=health(UNKNOWN))
    (move,) = clock.step()
    assert move.to == "t2"


def test_what_tunnels_are_needed_for() -> None:
    clock = Clock("t1", "t2")
    clock.step()
    assert clock.failover.needs(["t1", "t2", "t3"]) == {"t1": Need.USED, "t2": Need.NEXT, "t3": Need.IDLE}


def most_in_a_minute(moves: Iterable[tuple[float, Move]]) -> int:
    times = [at_s for at_s, _ in moves]
    return max((sum(s <= t < s + QUALITY_MOVES_APART_S - 0.01 for t in times) for s in times), default=0)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=25))
def test_a_link_that_is_now_good_now_bad_moves_its_route_once_a_minute_at_most(
    times: list[tuple[float, float]],
) -> None:
    clock = Clock("t1", "t2")
    clock.step(2)
    clock.moves.clear()
    for bad_s, good_s in times:
        clock.set(t1=health(bad="slow"))
        clock.step(bad_s)
        clock.set(t1=health())
        clock.step(good_s)
    assert most_in_a_minute(clock.moves) <= 1


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=25))
def test_a_link_that_dies_again_and_again_costs_a_move_a_minute_at_most(times: list[tuple[float, float]]) -> None:
    clock = Clock("t1", "t2")
    clock.step(2)
    clock.moves.clear()
    began_s = clock.now_s
    for dead_s, alive_s in times:
        clock.set(t1=health(DEAD))
        clock.step(dead_s)
        clock.set(t1=health())
        clock.step(alive_s)
    # Away from it at once, so the move back and the next away may come together.
    assert most_in_a_minute(clock.moves) <= 2
    assert len(clock.moves) <= 2 + (clock.now_s - began_s) / 60


class Weather(RuleBasedStateMachine):
    """Tunnels do what they want; the controller wants what it wants."""

    names = ("t1", "t2", "t3")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(*self.names)
        self.wanted: tuple[str, ...] = self.names
        self.died_s = dict.fromkeys(self.names, 0.0)
        self.clock.step()

    @rule(name=st.sampled_from(names), heard=st.sampled_from(Direction), bad=st.sampled_from(["", "slow"]))
    def does(self, name: str, heard: Direction, bad: str) -> None:
        if heard is DEAD and self.clock.healths[name].alive.heard is not DEAD:
            self.died_s[name] = self.clock.now_s
        self.clock.set(**{name: health(heard, bad)})
        self.clock.step()

    @rule(wanted=st.permutations(names), count=st.integers(1, 3))
    def wants(self, wanted: list[str], count: int) -> None:
        self.wanted = tuple(wanted[:count])
        self.clock.failover.want([route(*self.wanted)])
        self.clock.step()

    @rule(seconds=st.sampled_from([0.5, 1.0, 40.0, 200.0]))
    def goes_by(self, seconds: float) -> None:
        self.clock.step(seconds)

    @invariant()
    def it_takes_a_living_one_of_its_own_if_there_is_one(self) -> None:
        heard = {name: self.clock.healths[name].alive.heard for name in self.wanted}
        taken = self.clock.taken
        self.clock.step()
        assert self.clock.taken == taken, "it moved again although nothing changed"
        assert taken is None or taken in self.wanted
        if ALIVE in heard.values() and self.clock.moves:
            assert taken is not None and heard[taken] in (ALIVE, UNKNOWN)
        if taken is not None and heard[taken] is DEAD:
            assert not {ALIVE, HELD} & set(heard.values()) and self.clock.now_s - self.died_s[taken] <= GRACE_S


Weather.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestWeather = Weather.TestCase
