from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vte_agent.tunnels.contract import PeerEnd
from vte_agent.tunnels.wireguard_calls import Calls

ONE, TWO = b"1" * 32, b"2" * 32
PEER, OTHER = PeerEnd(None, b"s" * 32, None), PeerEnd(None, b"t" * 32, None)


def times_s(calls: Calls, step_s: float = 0.125, until_s: float = 60.0) -> list[float]:
    """When an end that never gets a handshake calls again, if it is asked so often."""
    steps = (step * step_s for step in range(1, int(until_s / step_s)))
    return [now_s for now_s in steps if calls.due("ls", now_s)]


def test_one_end_calls_again_soon_and_the_other_later_and_both_give_up() -> None:
    first, second = Calls(), Calls()
    first.told("ls", ONE, TWO, PEER, 0.0)
    second.told("ls", TWO, ONE, PEER, 0.0)
    assert times_s(first) == [0.25, 0.75, 1.75, 3.75, 7.75]
    assert times_s(second) == [1.0, 3.0, 7.0]


def test_who_has_a_handshake_does_not_call() -> None:
    calls = Calls()
    calls.told("ls", ONE, TWO, PEER, 0.0)
    calls.over("ls")
    assert times_s(calls) == []


def test_to_be_told_the_same_peer_again_is_no_reason_to_call() -> None:
    calls = Calls()
    for now_s in (0.0, 0.1, 0.2):
        calls.told("ls", ONE, TWO, PEER, now_s)
    assert calls.due("ls", 0.25) == (PEER, TWO)
    calls.told("ls", ONE, TWO, OTHER, 0.3)
    assert calls.due("ls", 0.5) is None
    assert calls.due("ls", 0.55) == (OTHER, TWO)


@given(st.floats(0.01, 0.9), st.floats(0.01, 5.0))
def test_there_is_a_pause_longer_than_any_round_trip_that_the_other_end_does_not_disturb(
    step_s: float, late_s: float
) -> None:
    first, second = Calls(), Calls()
    first.told("ls", ONE, TWO, PEER, 0.0)
    second.told("ls", TWO, ONE, PEER, late_s)
    calls_s = sorted(times_s(first, step_s) + times_s(second, step_s))
    assert max(after_s - before_s for before_s, after_s in pairwise(calls_s)) > 0.5
