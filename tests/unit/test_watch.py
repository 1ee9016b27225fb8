"""A watch is proven by an answer in every direction, lost after three missed probes, and patient otherwise."""

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.stitches.watch import MISSES, PROVE_EVERY_S, PROVE_WITHIN_S, WATCH_EVERY_S, Watch


def test_it_is_proven_when_every_direction_has_answered() -> None:
    watch = Watch.over(2, 0.0, None)
    assert watch.due(0.0) == (0, 1)
    watch.heard(0, 1.0)
    assert not watch.proven
    watch.heard(1, 3.0)
    assert watch.proven
    assert watch.latency_ms == 3.0


def test_it_asks_soon_then_less_and_less_often_until_it_is_proven_and_then_now_and_then() -> None:
    watch = Watch.over(1, 0.0, None)
    assert watch.due(0.0)
    assert not watch.due(PROVE_EVERY_S / 2)
    assert watch.due(PROVE_EVERY_S)
    assert not watch.due(2 * PROVE_EVERY_S)
    assert watch.due(3 * PROVE_EVERY_S)
    watch.heard(0, 1.0)
    assert watch.due(7 * PROVE_EVERY_S)
    assert not watch.due(7 * PROVE_EVERY_S + WATCH_EVERY_S / 2)
    assert watch.due(7 * PROVE_EVERY_S + WATCH_EVERY_S)


def test_where_there_are_many_it_asks_less_often_and_is_given_more_time() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.spacing_s = 3.0
    assert watch.due(0.0) and not watch.due(2.9) and watch.due(3.0)
    assert not watch.is_unproven(PROVE_WITHIN_S + 11.9)
    assert watch.is_unproven(PROVE_WITHIN_S + 12.1)


def test_it_is_lost_after_three_missed_probes_and_not_before() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.heard(0, 1.0)
    now_s = 0.0
    for _ in range(MISSES):
        watch.due(now_s)
        assert not watch.lost
        now_s += WATCH_EVERY_S
    watch.due(now_s)
    assert watch.lost


def test_an_answer_ends_the_count() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.heard(0, 1.0)
    for second in range(20):
        watch.due(float(second))
        if second % 2:
            watch.heard(0, 1.0)
        assert not watch.lost


@given(st.lists(st.floats(0.0, 60.0), max_size=30))
def test_probes_that_could_not_be_sent_prove_nothing(times_s: list[float]) -> None:
    watch = Watch.over(2, 0.0, None)
    watch.heard(0, 1.0)
    watch.heard(1, 1.0)
    for now_s in sorted(times_s):
        watch.due(now_s)
        watch.skip(now_s)
    assert not watch.lost


def test_it_is_slow_when_three_probes_in_a_row_took_too_long() -> None:
    watch = Watch.over(1, 0.0, 10.0)
    for latency_ms in (20.0, 20.0, 5.0, 20.0, 20.0):
        watch.heard(0, latency_ms)
        assert not watch.slow
    watch.heard(0, 20.0)
    assert watch.slow


def test_a_direction_that_is_not_watched_is_ignored() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.heard(1, 1.0)
    assert not watch.proven


def test_a_probe_that_may_wait_to_be_looked_at_is_not_missed() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.heard(0, 1.0)
    for second in range(20):
        watch.due(float(second), second - 2.0 * WATCH_EVERY_S)
        if second > 1:
            watch.heard(0, 1.0, second - 2.0)
        assert not watch.lost
    for second in range(20, 24 + MISSES):
        watch.due(float(second), second - 2.0 * WATCH_EVERY_S)
    assert watch.lost


def test_where_the_controller_was_held_up_proving_begins_anew() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.due(0.0)
    watch.pardon(PROVE_WITHIN_S + 1.0)
    assert not watch.is_unproven(2 * PROVE_WITHIN_S)
    assert watch.is_unproven(2 * PROVE_WITHIN_S + 1.1)


def test_where_the_controller_was_held_up_no_probe_is_missed_for_it() -> None:
    watch = Watch.over(1, 0.0, None)
    watch.heard(0, 1.0)
    for second in range(20):
        watch.due(float(second))
        watch.pardon(float(second))
        assert not watch.lost


def branching() -> Watch:
    """Two pairs of switches, and broadcast from each of two switches, which take turns."""
    return Watch.over(4, 0.0, None, floods=[(0, frozenset({2, 3})), (0, frozenset({1, 3}))], branches=True)


def proven() -> Watch:
    watch = branching()
    for number in range(6):
        watch.heard(number, 1.0)
    return watch


def test_broadcast_is_proven_when_it_has_come_out_at_every_switch() -> None:
    watch = branching()
    for number in range(4):
        watch.heard(number, 1.0)
    watch.heard(4, 1.0, 0.0, 2)
    watch.heard(5, 1.0, 0.0, 1)
    watch.heard(5, 1.0, 0.0, 3)
    watch.heard(4, 1.0, 0.5, 3)
    assert not watch.proven, "not of one and the same probe"
    watch.heard(4, 2.0, 0.5, 2)
    assert watch.proven and watch.latency_ms == 2.0


def test_switches_take_turns_with_broadcast_once_all_is_proven() -> None:
    assert branching().due(0.0) == (0, 1, 2, 3, 4, 5)
    watch = proven()
    sent = [watch.due(float(second)) for second in range(4)]
    assert [numbers[:4] for numbers in sent] == [(0, 1, 2, 3)] * 4
    assert sorted(numbers[4] for numbers in sent) == [4, 4, 5, 5]
    assert (branching().weight, watch.weight) == (6, 5)


def test_with_branches_it_is_dead_when_no_pair_of_switches_hears_each_other() -> None:
    watch = proven()
    for second in range(6):
        watch.due(float(second))
        watch.heard(2, 1.0)
        watch.heard(3, 1.0)
    assert {0, 1} <= set(watch.silent(5.0)) and not {2, 3} & set(watch.silent(5.0))
    assert not watch.is_dead(5.0)
    for second in range(6, 12):
        watch.due(float(second))
        watch.heard(3, 1.0)
    assert watch.is_dead(11.0)


def test_a_part_that_is_away_from_the_controller_proves_nothing() -> None:
    watch = proven()
    for second in range(12):
        assert not {0, 1, 4, 5} & set(watch.due(float(second), away=(0, 1, 4, 5)))
        watch.heard(2, 1.0)
        watch.heard(3, 1.0)
    assert not watch.silent(12.0) and not watch.is_dead(12.0)


def test_what_was_never_proven_after_a_restart_is_silent_and_the_rest_is_left_alone() -> None:
    watch = branching()
    for number in (2, 3):
        watch.heard(number, 1.0)
    assert not watch.silent(PROVE_WITHIN_S)
    assert watch.silent(PROVE_WITHIN_S + 0.1) == (0, 1, 4, 5)
    assert not watch.is_dead(PROVE_WITHIN_S + 0.1)
    assert branching().is_dead(PROVE_WITHIN_S + 0.1)
