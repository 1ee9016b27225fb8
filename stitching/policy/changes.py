"""What another policy would change: who may talk, how many rules switches have, and which stitches have to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stitching.cookie import Kind, kind_of
from stitching.difference import diff
from stitching.kinds import parted
from stitching.network import Host, Network
from stitching.policy.faults import Fault
from stitching.policy.ruling import Pattern, Ruling, Standing
from stitching.rules import Entry, EntryKey, FlowRule
from stitching.stitch import ENDED, State, Stitch

MOST_RULES = 50_000
"""Rules of one switch that decide who may send to whom: what a policy may come to."""

MOST_LISTED = 200

Fleet = Mapping[int, Mapping[EntryKey, Entry]]
"""The rules of every switch."""


@dataclass(frozen=True, slots=True)
class PairChange:
    """What changes for packets from one host to another (their names): allowed, denied, or in part."""

    source: str
    target: str
    change: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What would change. pairs lists the first of them; counts has how many there are of each kind."""

    pairs: tuple[PairChange, ...]
    counts: Mapping[str, int]
    rules_added: int
    rules_removed: int
    rules: Mapping[int, int]
    stitches: tuple[tuple[int, str], ...]


def changes(
    before: Ruling, after: Ruling, network: Network, rules: tuple[Fleet, Fleet], stitches: Iterable[Stitch]
) -> Changes:
    """What changes from one ruling to another; rules are those of all switches before and after."""
    listed: list[PairChange] = []
    counts: Counter[str] = Counter()
    for source, target, what in _pairs(before, after, tuple(network.hosts.values())):
        counts[what] += 1
        if len(listed) < MOST_LISTED:
            name = after.directory.name_of
            listed.append(PairChange(name(source), name(target), what))
    has, wants = rules
    differences = [diff(has.get(dpid, {}), wants.get(dpid, {})) for dpid in has.keys() | wants.keys()]
    return Changes(
        tuple(listed),
        dict(counts),
        sum(len(one.missing) + len(one.wrong) for one in differences),
        sum(len(one.excess) for one in differences),
        rule_counts(wants),
        tuple(forbidden(after, network, stitches)),
    )


def forbidden(ruling: Ruling, network: Network, stitches: Iterable[Stitch]) -> Iterator[tuple[int, str]]:
    """The stitches that may not be, each with the reason."""
    for stitch in stitches:
        if stitch.state not in (*ENDED, State.TERMINATING):
            reason = parted(stitch, network, ruling)
            if reason is not None:
                yield stitch.id, reason


def rule_counts(rules: Fleet) -> dict[int, int]:
    """How many rules each switch has that decide who may send to whom."""
    kinds = (Kind.SEGMENT, Kind.DENY, Kind.NEIGHBOUR)
    return {
        dpid: sum(isinstance(entry, FlowRule) and kind_of(entry.cookie) in kinds for entry in entries.values())
        for dpid, entries in rules.items()
    }


def too_many(before: Mapping[int, int], after: Mapping[int, int], most: int = MOST_RULES) -> Fault | None:
    """What is wrong where a policy makes more rules than a switch may have, and more than there are without it."""
    dpid = max(after, key=lambda number: after[number], default=None)
    if dpid is None or after[dpid] <= max(most, before.get(dpid, 0)):
        return None
    reason = (
        f"switch {dpid:016x} would have {after[dpid]} rules of it (now {before.get(dpid, 0)}), and may have {most}"
    )
    return Fault("the document", "rules", reason, "use fewer port ranges, or wider ones, or rules from or to any")


def _pairs(before: Ruling, after: Ruling, hosts: tuple[Host, ...]) -> Iterator[tuple[Host, Host, str]]:
    known: dict[tuple[Standing, ...], str | None] = {}
    for source in hosts:
        for target in hosts:
            if source.mac == target.mac:
                continue
            key = tuple(ruling.standing(host) for ruling in (before, after) for host in (source, target))
            if key not in known:
                known[key] = _change(before.between(source, target), after.between(source, target))
            if (what := known[key]) is not None:
                yield source, target, what


def _change(before: tuple[Pattern, ...], after: tuple[Pattern, ...]) -> str | None:
    was, will = (any(pattern.allowed for pattern in patterns) for patterns in (before, after))
    if was != will:
        return "allowed" if will else "denied"
    if not will:
        return None
    said, says = (
        [(p.protocol, p.ports, p.reply, p.allowed, p.demands) for p in patterns] for patterns in (before, after)
    )
    return None if said == says else "changed"
