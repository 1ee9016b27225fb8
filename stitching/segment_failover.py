"""The rules of a segment with detours: every switch of its tree goes round what dies by itself.

A switch sends to each neighbour on the tree by fast-failover groups: out of the port to it or, if that is dead, by
a detour, under the label of that. Switches on a detour pass its packets on by the port they come in by and that
label. At its end they get the label of the tree back and go on as what came by the tree. As a packet may have to
leave by the port it came in by, which OpenFlow does when told so alone, rules look at that port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from stitching.match import VLAN_PRESENT, Match
from stitching.network import LinkKey, reverse
from stitching.rules import (
    PORT_IN_PORT,
    Action,
    Bypass,
    Entry,
    EntryKey,
    First,
    Output,
    PopLabel,
    PushLabel,
    ToGroup,
    rule_set,
)
from stitching.segment import Detour, Ports, SegmentTree, ports_of
from stitching.segment_detours import entering
from stitching.segment_rules import Way


def protected_rules(stitch_id: int, tree: SegmentTree) -> dict[int, dict[EntryKey, Entry]]:
    """All a segment with detours needs, per switch."""
    entries: dict[int, list[Entry]] = defaultdict(list)
    for number in range(len(tree.ways)):
        way = _ProtectedWay(stitch_id, tree, number)
        for dpid, entry in (*way.entries(), *way.groups):
            entries[dpid].append(entry)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}


class _ProtectedWay(Way):
    """One direction of a segment with detours. groups are those that its rules named so far."""

    def __init__(self, stitch_id: int, tree: SegmentTree, number: int) -> None:
        super().__init__(stitch_id, tree, number)
        self.groups: dict[tuple[int, Entry], None] = {}
        self._tree = tree
        self._ports = ports_of(tree.links)
        self._vids = tuple(label + number | VLAN_PRESENT for label in tree.detour_labels)
        self._round: dict[LinkKey, list[Detour]] = defaultdict(list)
        for detour in tree.detours:
            self._round[detour.around].append(detour)
        self._far: dict[LinkKey, bool] = {}
        self._sending = {sender.dpid for sender in self.senders}

    def onward(self, dpid: int, target: int, in_port: int) -> tuple[Action, ...]:
        """Towards a switch: by the tree or, if that is dead there, by the detour that leads to it."""
        towards = self.towards[target]
        key = towards[dpid]
        behind = key[2] if key[2] == target else towards[key[2]][2]
        for detour in self._round[key]:
            if detour.end == behind or (detour.end == key[2] and not detour.only_here):
                return (self._by(detour, in_port),)
        return (Output(_back(key[1], in_port)),)

    def spread(self, dpid: int, in_port: int) -> tuple[Action, ...]:
        """To all switches beyond this one: where a neighbour is dead, by all the detours round it."""
        return self._spread_by(dpid, in_port, self.beyond(dpid, in_port))

    def pass_on(self) -> Iterator[tuple[int, Entry]]:
        """What comes by the tree, by the port it comes by; then what comes by detours."""
        for dpid, keys in sorted(self._ports.items()):
            for port_no, key in sorted(keys.items()):
                if self._sends_beyond(key):
                    inside = Match(port_no, vlan_vid=self.label)
                    yield from self._go_on(dpid, inside, port_no, ())
        for detour in self._tree.detours:
            if self._sends_beyond(reverse(detour.around)) and self._receives_beyond(detour.around):
                yield from self._along(detour)

    def _receives_beyond(self, key: LinkKey) -> bool:
        """Whether somebody receives on the far side of a link of the tree."""
        return any(towards.get(key[0]) == key for towards in self.towards.values())

    def _along(self, detour: Detour) -> Iterator[tuple[int, Entry]]:
        vid = self._vids[detour.colour]
        for key, following in pairwise(detour.links):
            inside = Match(key[3], vlan_vid=vid)
            yield key[2], self.rule(inside, (Output(_back(following[1], key[3])),))
        dpid, in_port = detour.links[-1][2:]
        inside, relabel = Match(in_port, vlan_vid=vid), (PopLabel(), PushLabel(self.label))
        if not detour.only_here:
            yield from self._go_on(dpid, inside, entering(self._tree, detour), relabel)
        if self.receives(dpid):
            yield dpid, self.arriving(inside, relabel)

    def _go_on(
        self, dpid: int, inside: Match, as_if_from: int, relabel: tuple[Action, ...]
    ) -> Iterator[tuple[int, Entry]]:
        """On along the tree from a switch, away from one of its ports."""
        in_port = inside.in_port or 0
        for receiver in self.receivers:
            if receiver.dpid == dpid or self.towards[receiver.dpid][dpid][1] == as_if_from:
                continue
            match = Match(in_port, eth_dst=receiver.mac, vlan_vid=inside.vlan_vid)
            yield dpid, self.rule(match, (*relabel, *self.onward(dpid, receiver.dpid, in_port)))
        if ports := self.beyond(dpid, as_if_from):
            yield dpid, self.broadcast_rule(dpid, inside, (*relabel, *self._spread_by(dpid, in_port, ports)))

    def _spread_by(self, dpid: int, in_port: int, ports: list[int]) -> tuple[Action, ...]:
        actions: list[Action] = []
        for port_no in ports:
            detours = self._round[self._ports[dpid][port_no]]
            actions += (
                [self._by(detour, in_port, beside=place > 0) for place, detour in enumerate(detours)]
                if detours
                else [Output(_back(port_no, in_port))]
            )
        return tuple(actions)

    def _by(self, detour: Detour, in_port: int, *, beside: bool = False) -> Action:
        """Out of the port to a neighbour, unless that has been done beside; by a detour if it is dead."""
        dpid, port_no = detour.around[:2]
        first = First.NOTHING if beside else First.BACK if port_no == in_port else First.OUT
        group = Bypass(port_no, self._vids[detour.colour], _back(detour.links[0][1], in_port), first)
        self.groups[dpid, group] = None
        return ToGroup(group.group_id)

    def _sends_beyond(self, key: LinkKey) -> bool:
        """Whether somebody sends on the far side of a link of the tree."""
        if key not in self._far:
            self._far[key] = not self._sending.isdisjoint(_far_side(self._ports, key))
        return self._far[key]


def _far_side(ports: Ports, key: LinkKey) -> set[int]:
    """The switches of a tree behind a link."""
    side, ahead = {key[2]}, [key[2]]
    while ahead:
        for following in ports[ahead.pop()].values():
            if following != reverse(key) and following[2] not in side:
                side.add(following[2])
                ahead.append(following[2])
    return side


def _back(port_no: int, in_port: int) -> int:
    """A port to send by what came in by one."""
    return PORT_IN_PORT if port_no == in_port else port_no
