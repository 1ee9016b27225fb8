"""No packet goes round, whichever plan each site carries out while plans change.

Sites take new plans at different times, and one that is cut off keeps an old one for hours. So a new plan may send
packets for a prefix from one site to another only where that closes no circle with what any plan that may still be
in force does, at any site, for any class and any tunnel that may be dead. What would close one is withheld until
the plans in its way are gone: the sites have carried out newer ones. By induction the graph of all that may be
done for an address has no circle at any time. No site has to look where a packet came from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from stitching.overlay.prefix_sets import PrefixSet, PrefixTable, Span
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Prefix, covers

Withheld = Mapping[int, frozenset[tuple[int, int]]]
"""By site: (destination site, next site) that it may not use yet."""

NextOf = Callable[[int, int], Sequence[int]]
"""Where a site would send packets for another one: all sites it may send them to, the surest first."""


def withheld(
    owners: Mapping[Prefix, int],
    transit: Collection[int],
    next_of: NextOf,
    in_force: Mapping[int, Sequence[SitePlan]],
    known_targets: Callable[[Prefix], Collection[int]],
    latest: Mapping[int, SitePlan],
    former: Collection[Prefix] = (),
) -> Withheld:
    """What new plans may not do yet.

    `latest` are the plans of the compilation before, whose next hops are within `known_targets` of each prefix and
    whose prefixes are `former`: they need not be searched.
    """
    older = _older_targets(in_force, latest)
    groups = _groups(owners, {prefix for prefix in (*older, *former) if prefix not in owners})
    found: dict[int, set[tuple[int, int]]] = {}
    relays = frozenset(transit)
    for prefix, owner in owners.items():
        related = groups.get(prefix, (prefix,))
        targets = relays | {owners[one] for one in related if one in owners}
        for one in related:
            targets = targets.union(known_targets(one), older.get(one, ()))
        old = {node: _old_hops(node, related, in_force) & targets for node in targets}
        # Of the whole group: a packet may match the wider prefix here and the narrower one there.
        destinations = sorted({owner, *(owners[one] for one in related if one in owners)})
        new = {node: [(dst, hop) for dst in destinations for hop in next_of(node, dst)] for node in targets}
        if all(old[node] <= {hop for _, hop in new[node]} for node in targets) and len(related) == 1:
            continue
        for node, dst, hop in _closing(old, new, targets):
            found.setdefault(node, set()).add((dst, hop))
    return {node: frozenset(pairs) for node, pairs in found.items()}


def _old_hops(node: int, related: Iterable[Prefix], in_force: Mapping[int, Sequence[SitePlan]]) -> set[int]:
    hops: set[int] = set()
    for plan in in_force.get(node, ()):
        for prefix in related:
            if prefix not in plan.owned:
                hops |= plan.next_hops.get(prefix, frozenset())
    return hops


def _closing(
    old: Mapping[int, set[int]], new: Mapping[int, Sequence[tuple[int, int]]], targets: Collection[int]
) -> list[tuple[int, int, int]]:
    """The new steps (node, destination, next) that close a circle, taken in one by one, straight ones first."""
    steps = {node: set(hops) for node, hops in old.items()}
    asked = sorted(
        (
            (hop != dst, place, node, dst, hop)
            for node, hops in new.items()
            for place, (dst, hop) in enumerate(hops)
        ),
    )
    refused = []
    for _, _, node, dst, hop in asked:
        if hop not in targets or hop in steps[node]:
            continue
        if _leads(steps, hop, node):
            refused.append((node, dst, hop))
        else:
            steps[node].add(hop)
    return refused


def _leads(steps: Mapping[int, set[int]], start: int, end: int) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node == end:
            return True
        waiting.extend(steps.get(node, set()) - seen)
        seen |= steps.get(node, set())
    return False


def _older_targets(
    in_force: Mapping[int, Sequence[SitePlan]], latest: Mapping[int, SitePlan]
) -> Mapping[Prefix, set[int]]:
    """By prefix, where plans that are not the latest send its packets."""
    spans: dict[PrefixTable, dict[int, list[Span]]] = {}
    for serial, plans in in_force.items():
        for plan in plans:
            if plan is not latest.get(serial):
                by_hop = spans.setdefault(plan.next_hops.table, {})
                for start, end, hops in plan.next_hops.steps:
                    for hop in hops:
                        by_hop.setdefault(hop, []).append((start, end))
    found: dict[Prefix, set[int]] = {}
    for table, by_hop in spans.items():
        for hop, to in by_hop.items():
            for prefix in PrefixSet.of(table, to):
                found.setdefault(prefix, set()).add(hop)
    return found


def _groups(owners: Mapping[Prefix, int], strange: Collection[Prefix]) -> Mapping[Prefix, tuple[Prefix, ...]]:
    """For prefixes of today, all that overlap them and were another prefix once; those left out have none."""
    if not strange:
        return {}
    found: dict[Prefix, tuple[Prefix, ...]] = {}
    everything = sorted(
        {*owners, *strange}, key=lambda one: (one.version, int(one.network_address), one.prefixlen)
    )
    group: list[Prefix] = []
    for prefix in [*everything, None]:
        if group and (prefix is None or not covers(group[0], prefix)):
            if len(group) > 1:
                found.update(dict.fromkeys(group, tuple(group)))
            group = []
        if prefix is not None:
            group.append(prefix)
    return found
