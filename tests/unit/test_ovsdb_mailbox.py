"""A slow reader finds what a server says now, whether it was away, and the last refusal: no more than that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb.connection import Heard
from ryu_apps.ovsdb.mailbox import Mailbox
from ryu_apps.ovsdb.view import View

REMOTE = "unix:/one"
said = st.builds(
    Heard,
    remote=st.just(REMOTE),
    view=st.none() | st.builds(View, stray=st.tuples(st.text(max_size=2))),
    error=st.sampled_from(["", "", "no", "never"]),
)


@given(st.lists(st.lists(said, min_size=1, max_size=8), max_size=6))
def test_nothing_that_counts_is_lost_and_nothing_piles_up(rounds: list[list[Heard]]) -> None:
    mailbox = Mailbox()
    for one_round in rounds:
        told = [mailbox.put(heard) for heard in one_round]
        assert told == [True] + [False] * (len(told) - 1)
        taken = mailbox.take(REMOTE)
        assert len(taken) <= 2
        assert taken[-1].view is one_round[-1].view
        assert (None in [heard.view for heard in taken]) == (None in [heard.view for heard in one_round])
        errors = [heard.error for heard in one_round if heard.error]
        assert taken[-1].error == (errors[-1] if errors else "")
        assert mailbox.take(REMOTE) == ()


def test_servers_are_read_each_by_itself() -> None:
    mailbox = Mailbox()
    assert mailbox.put(Heard("unix:/one", None)) and mailbox.put(Heard("unix:/other", View()))
    assert [heard.view for heard in mailbox.take("unix:/other")] == [View()]
    assert [heard.view for heard in mailbox.take("unix:/one")] == [None]
