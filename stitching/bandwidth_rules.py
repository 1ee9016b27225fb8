"""The rules of a cap: a meter at every switch where its hosts send, met before a packet goes on any path."""

from __future__ import annotations

from collections import defaultdict

from stitching import cookie
from stitching.bandwidth import BandwidthShares
from stitching.cookie import Kind
from stitching.enforcement import burst_kbit
from stitching.match import Match
from stitching.rules import Entry, EntryKey, FlowRule, Meter, Table, rule_set

_PAIR = 200


def bandwidth_rules(stitch_id: int, placed: BandwidthShares) -> dict[int, dict[EntryKey, Entry]]:
    """All a cap needs, per switch; a guarantee alone needs nothing there.

    Rules do not say the epoch: when a share changes, the meter does, and nothing else.
    """
    entries: dict[int, list[Entry]] = defaultdict(list)
    for share in placed.shares:
        # Rounded down: together they are never above the cap.
        rate_kbps = max(1, int(share.mbps * 1000))
        entries[share.dpid].append(Meter(placed.meter, rate_kbps, burst_kbit(rate_kbps / 1e3)))
    ours = cookie.pack(Kind.METER, stitch=stitch_id)
    for one, other in placed.pairs() if placed.shares else ():
        match = Match(eth_src=one.mac, eth_dst=other.mac)
        rule = FlowRule(Table.METER, _PAIR, match, goto=Table.STITCH, cookie=ours, meter=placed.meter)
        entries[one.dpid].append(rule)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}
