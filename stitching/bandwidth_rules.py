"""The rules of a cap and of a guarantee, at every switch where their hosts send.

A cap is a meter, met before a packet goes on any path. For a guarantee, packets that have no path of their own are
marked: a tag goes around them whose priority says whose they are to the queues of the ports on the way (the pipe
model of RFC 2983: the class is in our header, that of the host stays as it is).
"""

from __future__ import annotations

from collections import defaultdict

from stitching import cookie
from stitching.bandwidth import BandwidthShares
from stitching.cookie import Kind
from stitching.enforcement import burst_kbit
from stitching.match import VLAN_PRESENT, Match
from stitching.pipeline import CLASS_LABEL
from stitching.rules import Entry, EntryKey, FlowRule, Meter, PushLabel, Table, rule_set

_PAIR = 200
_MARK = 140
"""Below all that leads on a path, into a segment or out of it: labels tell those packets already."""


def bandwidth_rules(stitch_id: int, placed: BandwidthShares) -> dict[int, dict[EntryKey, Entry]]:
    """All it needs, per switch.

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
    tag = PushLabel(VLAN_PRESENT | CLASS_LABEL, placed.mark)
    marking = cookie.pack(Kind.MARK, stitch=stitch_id)
    for one, other in placed.pairs() if placed.mark else ():
        if one.dpid != other.dpid:
            match = Match(eth_src=one.mac, eth_dst=other.mac)
            marked = FlowRule(Table.STITCH, _MARK, match, (tag,), goto=Table.FORWARD, cookie=marking)
            entries[one.dpid].append(marked)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}
