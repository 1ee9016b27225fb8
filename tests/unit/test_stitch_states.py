"""The life of a stitch: nothing is stuck, nothing ends with its rules still in, all goes by the table."""

import pytest

from stitching.stitch import ENDED, TRANSITIONS, BadTransition, State, Stitch, VmRequest

REQUEST = VmRequest("02:00:00:00:00:01", "02:00:00:00:00:02", 1.0)


def stitch(state: State) -> Stitch:
    return Stitch(1, REQUEST, state, created_s=0.0, changed_s=0.0)


def reachable(start: State) -> set[State]:
    seen: set[State] = set()
    ahead = {start}
    while ahead:
        state = ahead.pop()
        new = TRANSITIONS[state] - seen
        seen |= new
        ahead |= new
    return seen


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("state", [state for state in State if state not in ENDED])
def test_every_state_that_is_no_end_can_reach_one(state: State) -> None:
    assert reachable(state) & ENDED
    assert state is State.TERMINATING or State.TERMINATING in TRANSITIONS[state]


def test_an_end_is_an_end() -> None:
    assert all(not TRANSITIONS[state] for state in ENDED)


def test_every_state_can_come_about() -> None:
    assert reachable(State.REQUESTED) | {State.REQUESTED} == set(State)


HOLDING = frozenset(State) - ENDED - {State.REQUESTED, State.FAILED}
"""States in which a stitch may have rules on switches and holds its reservation."""


def test_a_stitch_that_may_have_rules_ends_only_by_taking_them_out() -> None:
    for state in HOLDING - {State.TERMINATING}:
        assert not TRANSITIONS[state] & ENDED
    assert {state for state in State if State.TERMINATED in TRANSITIONS[state]} == {State.TERMINATING}


def test_rules_and_reservation_are_held_from_establishing_on_and_by_no_ended_or_failed_stitch() -> None:
    entered = {
        state for state in HOLDING for before in State if before not in HOLDING and state in TRANSITIONS[before]
    }
    assert entered == {State.ESTABLISHING, State.TERMINATING}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_a_stitch_changes_state_only_as_the_table_says(before: State, after: State) -> None:
    if after in TRANSITIONS[before]:
        changed = stitch(before).to(after, 5.0, reason="because")
        assert (changed.state, changed.changed_s, changed.reason) == (after, 5.0, "because")
    else:
        with pytest.raises(BadTransition, match=f"cannot go from {before} to {after}"):
            stitch(before).to(after, 5.0)


def test_up_s_is_when_a_stitch_was_first_up() -> None:
    up = stitch(State.ESTABLISHING).to(State.UP, 3.0)
    assert up.up_s == 3.0
    assert up.to(State.DEGRADED, 4.0).to(State.UP, 9.0).up_s == 3.0


def test_one_direction_or_both() -> None:
    there, back = REQUEST.directions
    assert back == there[::-1]
    assert VmRequest(*there, 1.0, both_ways=False).directions == (there,)
