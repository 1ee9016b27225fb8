"""Of each switch the newest connection counts, and answers are known by whose transaction they are of."""

from __future__ import annotations

from itertools import combinations, islice
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps.connections import Connections
from ryu_apps.transactions import Asker, Transactions


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.integers(0, 3)), max_size=30))
def test_a_switch_is_there_as_long_as_its_newest_connection_is(steps: list[tuple[bool, int, int]]) -> None:
    datapaths = {(dpid, number): SimpleNamespace(id=dpid) for dpid in (1, 2) for number in range(4)}
    connections, newest = Connections(), dict[int, SimpleNamespace]()
    for comes, dpid, number in steps:
        datapath = datapaths[dpid, number]
        says = comes or newest.get(dpid) is datapath
        state = MAIN_DISPATCHER if comes else DEAD_DISPATCHER
        assert connections.follow(SimpleNamespace(datapath=datapath, state=state)) == says
        if comes:
            newest[dpid] = datapath
        elif says:
            del newest[dpid]
        assert dict(connections) == newest
        assert connections.is_current(datapath) == (newest.get(dpid) is datapath)


def test_a_connection_that_ends_before_it_said_whose_it_is_says_nothing() -> None:
    unknown = SimpleNamespace(datapath=SimpleNamespace(id=None), state=DEAD_DISPATCHER)
    assert not Connections().follow(unknown)


def test_no_app_takes_the_answer_to_another_for_its_own() -> None:
    for one, other in combinations(Asker, 2):
        ours, theirs = Transactions(one), Transactions(other)
        assert all(ours.owns(xid) and not theirs.owns(xid) for xid in islice(ours, 3))
    assert all(0 < next(Transactions(asker)) < 1 << 32 for asker in Asker)
