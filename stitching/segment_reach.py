"""Who still reaches whom on a tree when links are gone: what switches do then, without a controller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from stitching.network import LinkKey, reverse
from stitching.segment import Detour, Member, SegmentTree, ports_of


class Reach:
    """A tree on the links that there are."""

    def __init__(self, tree: SegmentTree, links: Collection[LinkKey]) -> None:
        self._links = links
        self._ports = ports_of(tree.links)
        self._round: dict[LinkKey, list[Detour]] = defaultdict(list)
        for detour in tree.detours:
            self._round[detour.around].append(detour)
        dpids = {member.dpid for member in tree.members}
        self._from = {dpid: frozenset(self._reached(dpid)) for dpid in dpids}
        self._tree = tree

    def joined(self, one: Member, other: Member) -> bool:
        """Whether packets of two hosts come to each other."""
        return other.dpid in self._from[one.dpid] and one.dpid in self._from[other.dpid]

    def pairs(self) -> Iterator[tuple[Member, Member]]:
        """Those of different sides that are joined, one switch standing for its hosts."""
        sources, targets = ({m.dpid: m for m in side} for side in (self._tree.sources, self._tree.targets))
        return ((one, other) for one in sources.values() for other in targets.values() if self.joined(one, other))

    def cut_off(self) -> frozenset[str]:
        """The hosts (MACs) that do not come to every host of the other side, as most do.

        These are all but those at the switches that most pairs are between.
        """
        here: dict[int, set[int]] = defaultdict(set)
        for one, other in self.pairs():
            here[one.dpid].add(other.dpid)
            here[other.dpid].add(one.dpid)
        best = max(here, key=lambda dpid: (len(here[dpid]), -dpid), default=None)
        staying = (
            {best, *here[best], *(d for other in here[best] for d in here[other])} if best is not None else {}
        )
        return frozenset(member.mac for member in self._tree.members if member.dpid not in staying)

    def _reached(self, dpid: int) -> Iterator[int]:
        """The switches whose members hear what is sent from this one."""
        yield dpid
        ahead: list[tuple[int, int | None]] = [(dpid, None)]
        while ahead:
            here, came_from = ahead.pop()
            for key in self._ports.get(here, {}).values():
                if key[2] == came_from:
                    continue
                for there, behind, goes_on in self._over(key):
                    yield there
                    if goes_on:
                        ahead.append((there, behind))

    def _over(self, key: LinkKey) -> Iterator[tuple[int, int, bool]]:
        """Where packets for a link of the tree get to, as if from which switch, and whether they go on."""
        if key in self._links and reverse(key) in self._links:
            yield key[2], key[0], True
            return
        for detour in self._round[key]:
            if all(one in self._links for one in detour.links):
                behind = key[0] if detour.end == key[2] else key[2]
                yield detour.end, behind, not detour.only_here
