"""What has entered a stitch is summed over its rules, and the sum never falls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.polling.stitch_counts import KEEP_S, StitchCounts
from ryu_apps.wire import FlowStats, flow_mod
from stitching import cookie
from stitching.cookie import Kind
from stitching.match import VLAN_PRESENT, Match
from stitching.rules import FlowRule, Table
from tests.unit.decode import reported

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def said(
    packets: int, sent: int, *, epoch: int = 0, label: int | None = None, kind: Kind = Kind.STITCH
) -> FlowStats:
    match = Match(eth_src=A, eth_dst=B, vlan_vid=label)
    rule = FlowRule(Table.STITCH, 200, match, cookie=cookie.pack(kind, epoch=epoch, stitch=7))
    return reported(flow_mod(rule, 1))._replace(packet_count=packets, byte_count=sent)


@given(steps=st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=30))
def test_nothing_is_counted_twice_and_nothing_that_was_said_is_lost(steps: list[tuple[int, bool, bool]]) -> None:
    """A rule that is put in again over itself counts on; one that is taken out and made anew begins at zero."""
    counts, shown, whole, epoch = StitchCounts(), 0, 0, 0
    for packets, other_path, made_anew in steps:
        epoch += other_path
        if made_anew:
            shown = -1
        began_again = shown < 0
        shown = packets if began_again else shown + packets
        before = counts.totals.get(7, (0, 0))
        counts.take(1, [said(shown, 100 * shown, epoch=epoch)])
        now = counts.totals[7]
        assert now >= before and now[1] == 100 * now[0]
        whole += packets
        assert now[0] <= whole
        if not any(anew for _, _, anew in steps):
            assert now[0] == whole


def test_packets_on_their_way_and_rules_of_others_do_not_count() -> None:
    counts = StitchCounts()
    counts.take(1, [said(5, 500), said(9, 900, label=VLAN_PRESENT | 2050), said(9, 900, kind=Kind.PROBE)])
    counts.take(2, [said(2, 200)])
    assert counts.totals == {7: (7, 700)}


def test_sums_are_kept_as_long_as_a_stitch_that_ended_is_shown() -> None:
    counts = StitchCounts()
    counts.take(1, [said(5, 500)])
    counts.keep({7}, 0.0)
    counts.keep((), 10.0)
    counts.keep((), 10.0 + KEEP_S)
    assert counts.totals
    counts.keep((), 11.0 + KEEP_S)
    assert not counts.totals
