"""How many packets and bytes have entered each stitch: sums that only grow, whatever becomes of its rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ryu_apps.polling.counters import NOT_COUNTED
from ryu_apps.wire import FlowStats, read_match
from stitching import cookie
from stitching.cookie import Kind
from stitching.rules import Table

KEEP_S = 3600.0
"""How long the sums of a stitch that is gone are kept: as long as it is shown."""

_MATCHES_AT_MOST = 200_000

_Rule = tuple[int, int, bytes]


class StitchCounts:
    """Sums over the rules by which packets enter stitches, on all switches. Times are of one monotonic clock.

    A rule that counts less than before was made anew: all it shows came since. One that was there before this
    process counts from its own beginning, so sums go on after a restart as far as switches remember.
    """

    def __init__(self) -> None:
        self._last: dict[int, dict[_Rule, tuple[int, int]]] = {}
        self._totals: dict[int, tuple[int, int]] = {}
        self._gone_s: dict[int, float] = {}
        self._entrances: dict[bytes, bool] = {}

    @property
    def totals(self) -> Mapping[int, tuple[int, int]]:
        """Packets and bytes by stitch id."""
        return dict(self._totals)

    def take(self, dpid: int, entries: Iterable[FlowStats]) -> None:
        """Take in what a switch says of its rules, all of them or some."""
        for stats in entries:
            if stats.table_id != Table.STITCH or NOT_COUNTED in (stats.packet_count, stats.byte_count):
                continue
            if not cookie.is_ours(stats.cookie) or cookie.kind_of(stats.cookie) != Kind.STITCH:
                continue
            if not self._is_entrance(bytes(stats.match)):
                continue
            stitch_id = cookie.stitch_of(stats.cookie)
            rules = self._last.setdefault(stitch_id, {})
            rule = dpid, stats.priority, bytes(stats.match)
            packets, sent = rules.get(rule, (0, 0))
            if stats.packet_count < packets or stats.byte_count < sent:
                packets = sent = 0
            rules[rule] = stats.packet_count, stats.byte_count
            before = self._totals.get(stitch_id, (0, 0))
            self._totals[stitch_id] = (
                before[0] + stats.packet_count - packets,
                before[1] + stats.byte_count - sent,
            )

    def _is_entrance(self, match: bytes) -> bool:
        """Whether packets enter a stitch by a rule with this match. Each is read once: there are thousands."""
        known = self._entrances.get(match)
        if known is None:
            if len(self._entrances) >= _MATCHES_AT_MOST:
                self._entrances.clear()
            read = read_match(match)
            # Packets that are on their way within a stitch carry its label.
            known = read is not None and read.eth_src is not None and read.vlan_vid is None
            self._entrances[match] = known
        return known

    def keep(self, there: Collection[int], now_s: float) -> None:
        """These are the stitches there are; what is gone for long enough is forgotten."""
        for stitch_id in list(self._totals):
            if stitch_id in there:
                self._gone_s.pop(stitch_id, None)
            elif now_s - self._gone_s.setdefault(stitch_id, now_s) > KEEP_S:
                for known in (self._totals, self._last, self._gone_s):
                    known.pop(stitch_id, None)
