"""The rules of a stitch between two hosts: the way there, the way back, and the way round what dies.

At its entrance a packet is labelled with the VLAN id of its path, and every switch behind looks at the label and
at the port a packet comes in by: rules of two paths, or of the path before a change and the one after it, never
meet the same packet (the two-phase update of Reitblatt et al., Abstractions for Network Update, SIGCOMM 2012).

Where there is a backup, every switch of the path sends by a fast-failover group: by the next link or, if that is
dead, back by the port the packet came in. It runs back to the entrance, which sends it by the backup. So any one
link or transit switch may die and nobody has to be asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from stitching import cookie
from stitching.application import Application
from stitching.cookie import Kind
from stitching.match import ETH_PROBE, NO_VLAN, VLAN_PRESENT, L3Match, Match
from stitching.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    WHOLE_PACKET,
    Action,
    Entry,
    EntryKey,
    Failover,
    FlowRule,
    Output,
    PopLabel,
    PushLabel,
    Table,
    ToGroup,
    rule_set,
)
from stitching.stitch import Hop, Stitch, StitchPath, VmRequest

_PROBE, _BEHIND, _NARROW, _PLAIN = 500, 400, 210, 200
"""Priorities: what has a label enters no more; an application is above a whole pair, a narrow one above a wide."""


def path_rules(stitch: Stitch, request: VmRequest, path: StitchPath) -> dict[int, dict[EntryKey, Entry]]:
    """All a stitch between two hosts needs, per switch."""
    entries: dict[int, list[Entry]] = defaultdict(list)
    application = request.application
    ways = ((path, application), (path.reversed, application.back if application else None))
    for (source, target), (direction, packets) in zip(request.directions, ways, strict=False):
        way = _Way(stitch, direction, source, target, packets)
        for dpid, entry in way.entries():
            entries[dpid].append(entry)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}


class _Way:
    """One direction of a stitch."""

    def __init__(
        self, stitch: Stitch, path: StitchPath, source: str, target: str, application: Application | None
    ) -> None:
        self._path = path
        self._source, self._target = source, target
        self._label = path.label | VLAN_PRESENT
        self._application = application
        self._cookie = cookie.pack(Kind.STITCH, epoch=stitch.epoch, stitch=stitch.id)
        self._probe_cookie = cookie.pack(Kind.PROBE, epoch=stitch.epoch, stitch=stitch.id)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Everything this direction needs, with the switch it belongs to."""
        path, backup = self._path, self._path.backup
        first = path.hops[0]
        if not path.links:
            yield from self._on_one_switch(first)
            return
        yield from self._enter(first, backup.hops[0].out_port if backup is not None else None)
        for hop in path.hops[1:-1]:
            if backup is None:
                yield hop.dpid, self._behind(hop.in_port, (Output(hop.out_port),))
            else:
                group = Failover((hop.out_port, PORT_IN_PORT))
                yield hop.dpid, group
                yield hop.dpid, self._behind(hop.in_port, (ToGroup(group.group_id),))
                yield hop.dpid, self._behind(hop.out_port, (Output(hop.in_port),))
        yield from self._leave(path)
        if backup is not None:
            yield first.dpid, self._behind(first.out_port, (Output(backup.hops[0].out_port),))
            for hop in backup.hops[1:-1]:
                yield hop.dpid, self._behind(hop.in_port, (Output(hop.out_port),))
            last = backup.hops[-1]
            yield last.dpid, self._behind(last.in_port, (PopLabel(), Output(last.out_port)))

    def _on_one_switch(self, hop: Hop) -> Iterator[tuple[int, Entry]]:
        out = (Output(PORT_IN_PORT if hop.out_port == hop.in_port else hop.out_port),)
        for priority, match in self._packets():
            yield hop.dpid, FlowRule(Table.STITCH, priority, match, out, cookie=self._cookie)
        if self._application is None:
            # Not one with a label: that is of an application between the same hosts.
            yield hop.dpid, self._to_controller(self._packet(eth_type=ETH_PROBE, vlan_vid=NO_VLAN))
        else:
            probe = self._packet(in_port=PORT_CONTROLLER, eth_type=ETH_PROBE, vlan_vid=self._label)
            yield hop.dpid, self._to_controller(probe, PopLabel())

    def _enter(self, hop: Hop, backup_port: int | None) -> Iterator[tuple[int, Entry]]:
        onward: tuple[Action, ...] = (Output(hop.out_port),)
        if backup_port is not None:
            group = Failover((hop.out_port, backup_port))
            onward = (ToGroup(group.group_id),)
            yield hop.dpid, group
        labelled = (PushLabel(self._label), *onward)
        for priority, match in self._packets():
            yield hop.dpid, FlowRule(Table.STITCH, priority, match, labelled, cookie=self._cookie)
        if self._application is not None:
            # A probe is no packet of the application: it comes with its label.
            probe = self._packet(in_port=PORT_CONTROLLER, eth_type=ETH_PROBE, vlan_vid=self._label)
            yield hop.dpid, FlowRule(Table.STITCH, _PROBE, probe, onward, cookie=self._probe_cookie)

    def _leave(self, path: StitchPath) -> Iterator[tuple[int, Entry]]:
        last = path.hops[-1]
        yield last.dpid, self._behind(last.in_port, (PopLabel(), Output(last.out_port)))
        probe = self._packet(eth_type=ETH_PROBE, vlan_vid=self._label)
        yield last.dpid, self._to_controller(probe, PopLabel())

    def _packets(self) -> Iterator[tuple[int, Match]]:
        """What enters: the priority and match of each rule that is needed to find it."""
        if self._application is None:
            yield _PLAIN, self._packet()
            return
        for eth_type, l3 in self._application.matches():
            yield _NARROW + self._application.narrowness, self._packet(eth_type=eth_type, l3=l3)

    def _packet(
        self,
        in_port: int | None = None,
        *,
        eth_type: int | None = None,
        vlan_vid: int | None = None,
        l3: L3Match | None = None,
    ) -> Match:
        """A packet between the two ends. Made anew, which takes a fifth of the time that _replace does."""
        return Match(in_port, self._source, self._target, None, eth_type, vlan_vid, None, l3)

    def _behind(self, in_port: int, actions: tuple[Action, ...]) -> FlowRule:
        match = self._packet(in_port, vlan_vid=self._label)
        return FlowRule(Table.STITCH, _BEHIND, match, actions, cookie=self._cookie)

    def _to_controller(self, match: Match, *before: Action) -> FlowRule:
        """At the far end probes leave the path for the controller instead of the host."""
        actions = (*before, Output(PORT_CONTROLLER, WHOLE_PACKET))
        return FlowRule(Table.STITCH, _PROBE, match, actions, cookie=self._probe_cookie)
