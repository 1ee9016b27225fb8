"""From what switches have to what they should have, in an order in which no packet is lost or led astray.

The one way in which stitches are established, adjusted, repaired and removed. What a packet meets behind an
entrance is told by its label, so nothing there matters before the entrance sends packets with that label: first
all is put in that lies behind, then the entrances change, each in one step of its switch, and what no packet can
reach any more is taken out last, when those on their way have left. A packet follows the path before or the path
after, and never a part of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stitching.difference import Change, Stage, in_order
from stitching.network import LinkKey, Network
from stitching.rules import Entry, FlowRule, Meter, RuleSet

Fleet = Mapping[int, RuleSet]
"""What several switches hold, by dpid."""

_QUEUEING_MS = 10.0
"""What a packet may wait at a port on top of the latency of the link, as far as pauses allow for it."""

NOTHING: Fleet = {}
NOTHING_THERE: RuleSet = {}


def transition(has: Fleet, wants: Fleet) -> tuple[tuple[Stage, ...], Stage]:
    """The stages that lead from one to the other, and what is left over: to be removed when nothing is on its way.

    Both are what one owner holds. A stage that would be empty is left out.
    """
    behind: list[Change] = []
    shrinking: list[Change] = []
    entrances: list[Change] = []
    left_over: list[Change] = []
    for dpid in sorted(has.keys() | wants.keys()):
        there, wanted = has.get(dpid, NOTHING_THERE), wants.get(dpid, NOTHING_THERE)
        for key, entry in wanted.items():
            before = there.get(key)
            if before is None or before != entry:
                change = Change(dpid, entry)
                if is_entrance(entry):
                    entrances.append(change)
                else:
                    (shrinking if _shrinks(entry, before) else behind).append(change)
        for key, entry in there.items():
            if key not in wanted:
                (entrances if is_entrance(entry) else left_over).append(Change(dpid, entry, remove=True))
    # What lets packets in comes after what knows where they go, and leaves before it.
    entrances.sort(key=_depth)
    return tuple(in_order(changes) for changes in (shrinking, behind, entrances) if changes), in_order(left_over)


def stages(has: Fleet, wants: Fleet) -> tuple[Stage, ...]:
    """All of it, for one who waits `drain_s` between two stages."""
    first, left_over = transition(has, wants)
    return (*first, left_over) if left_over else first


def after(has: Fleet, done: Iterable[Stage]) -> Fleet:
    """What switches hold when these stages are done."""
    held = {dpid: dict(entries) for dpid, entries in has.items()}
    for change in (change for stage in done for change in stage):
        entries = held.setdefault(change.dpid, {})
        if change.remove:
            entries.pop(change.entry.key, None)
        else:
            entries[change.entry.key] = change.entry
    return held


def union(one: Fleet, other: Fleet) -> Fleet:
    """What switches hold that may hold either."""
    return {dpid: {**one.get(dpid, {}), **other.get(dpid, {})} for dpid in one.keys() | other.keys()}


def is_entrance(entry: Entry) -> bool:
    """Whether packets meet it that carry no label yet: it decides for all that lies behind."""
    return isinstance(entry, FlowRule) and entry.match.vlan_vid is None


def drain_s(links: Iterable[LinkKey], network: Network) -> float:
    """How long a packet may still be on its way over all these links."""
    known = [network.links[key].latency_ms for key in links if key in network.links]
    return sum((ms or 0.0) + _QUEUEING_MS for ms in known) / 1e3


def _shrinks(entry: Entry, before: Entry | None) -> bool:
    """Whether a meter lets less through than it did: it does so before others let more through."""
    return isinstance(entry, Meter) and isinstance(before, Meter) and entry.rate_kbps < before.rate_kbps


def _depth(change: Change) -> int:
    table = change.entry.table if isinstance(change.entry, FlowRule) else 0
    return table if change.remove else -table
