"""The rules of a segment: who may send to whom, by which label it goes along the tree, and where it comes out.

A packet for one host is labelled where it enters and follows the tree by (label, destination). Broadcast is copied
into the tree beside what it does in its own network, and out of the ports of the other side's members alone. Each
direction has a label of its own, so that a switch in between knows whose side a packet comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import ETH_PROBE, MULTICAST, VLAN_PRESENT, Match
from stitching.network import LinkKey
from stitching.pipeline import WHOLE_PACKET
from stitching.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Entry,
    EntryKey,
    FlowRule,
    Output,
    PopLabel,
    PushLabel,
    Table,
    rule_set,
)
from stitching.segment import Member, SegmentTree, links_towards, ports_of

_PROBE_HERE, _PROBE, _BEHIND, _ENTER = 510, 500, 400, 190
_PERMIT = 100
"""In table 1, below all rules of a policy: these come first. Only the default deny is behind."""

_TO_CONTROLLER = Output(PORT_CONTROLLER, WHOLE_PACKET)


def segment_rules(stitch_id: int, tree: SegmentTree) -> dict[int, dict[EntryKey, Entry]]:
    """All a segment needs, per switch."""
    ports = ports_of(tree.links)
    towards = {dpid: links_towards(ports, dpid) for dpid in tree.dpids}
    entries: dict[int, list[Entry]] = defaultdict(list)
    for senders, receivers, label in tree.ways:
        way = _Way(stitch_id, tree.since, label, senders, receivers, towards)
        for dpid, entry in way.entries():
            entries[dpid].append(entry)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}


class _Way:
    """One direction of a segment."""

    def __init__(
        self,
        stitch_id: int,
        epoch: int,
        label: int,
        senders: tuple[Member, ...],
        receivers: tuple[Member, ...],
        towards: Mapping[int, Mapping[int, LinkKey]],
    ) -> None:
        self._label = label | VLAN_PRESENT
        self._senders = senders
        self._receivers = receivers
        self._towards = towards
        self._cookie = cookie.pack(Kind.STITCH, epoch=epoch, stitch=stitch_id)
        self._probe_cookie = cookie.pack(Kind.PROBE, epoch=epoch, stitch=stitch_id)
        self._local: dict[int, list[Member]] = defaultdict(list)
        for receiver in receivers:
            self._local[receiver.dpid].append(receiver)
        self._beyond: dict[int, set[int]] = defaultdict(set)
        for dpid in self._local:
            for here, key in towards[dpid].items():
                self._beyond[here].add(key[1])

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Everything this direction needs, with the switch it belongs to."""
        for sender in self._senders:
            yield from self._enter(sender)
        for receiver in self._receivers:
            yield from self._lead_to(receiver)
        for dpid in self._reached():
            group = Match(vlan_vid=self._label, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
            outputs = (*self._onwards(dpid), *_out_of(self._hearing(dpid), PopLabel()))
            if outputs:
                yield dpid, self._rule(_BEHIND, group, outputs)

    def _enter(self, sender: Member) -> Iterator[tuple[int, Entry]]:
        dpid = sender.dpid
        for receiver in self._receivers:
            pair = Match(eth_src=sender.mac, eth_dst=receiver.mac)
            permit = cookie.pack(Kind.SEGMENT)
            yield dpid, FlowRule(Table.SEGMENT, _PERMIT, pair, goto=Table.METER, cookie=permit)
            if receiver.dpid == dpid:
                out = Output(PORT_IN_PORT if receiver.port_no == sender.port_no else receiver.port_no)
                yield dpid, self._rule(_ENTER, pair, (out,))
                probe = Match(
                    in_port=PORT_CONTROLLER, eth_src=sender.mac, eth_dst=receiver.mac, eth_type=ETH_PROBE
                )
                yield dpid, self._probe(_PROBE_HERE, probe)
            else:
                onward = Output(self._towards[receiver.dpid][dpid][1])
                yield dpid, self._rule(_ENTER, pair, (PushLabel(self._label), onward))
        group = Match(in_port=sender.port_no, eth_src=sender.mac, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
        onwards = self._onwards(dpid)
        into_tree = (PushLabel(self._label), *onwards, PopLabel()) if onwards else ()
        here = _out_of([member for member in self._hearing(dpid) if member.port_no != sender.port_no])
        # And on to where broadcast goes anyway, in the network of its own.
        yield dpid, self._rule(_ENTER, group, (*here, *into_tree), goto=Table.FORWARD)

    def _lead_to(self, receiver: Member) -> Iterator[tuple[int, Entry]]:
        inside = Match(vlan_vid=self._label, eth_dst=receiver.mac)
        towards = self._towards[receiver.dpid]
        crossed: set[int] = set()
        for sender in self._senders:
            key = towards.get(sender.dpid)
            while key is not None and key[2] not in crossed and key[2] != receiver.dpid:
                crossed.add(key[2])
                key = towards[key[2]]
        for dpid in sorted(crossed):
            yield dpid, self._rule(_BEHIND, inside, (Output(towards[dpid][1]),))
        if towards:
            yield receiver.dpid, self._rule(_BEHIND, inside, (PopLabel(), Output(receiver.port_no)))
            probe = Match(vlan_vid=self._label, eth_dst=receiver.mac, eth_type=ETH_PROBE)
            yield receiver.dpid, self._probe(_PROBE, probe, PopLabel())

    def _reached(self) -> list[int]:
        """The switches that broadcast comes to by the tree."""
        reached = {
            key[2]
            for dpid in self._local
            for sender in self._senders
            for key in _steps(self._towards[dpid], sender.dpid)
        }
        return sorted(reached)

    def _onwards(self, dpid: int) -> tuple[Action, ...]:
        """Out of the ports of the tree beyond which somebody receives; never back by the one a packet came in."""
        return tuple(Output(port_no) for port_no in sorted(self._beyond[dpid]))

    def _hearing(self, dpid: int) -> list[Member]:
        """The receivers at a switch that do not hear broadcast of the other side's network already."""
        return [member for member in self._local.get(dpid, ()) if not member.hears]

    def _rule(self, priority: int, match: Match, actions: tuple[Action, ...], goto: int | None = None) -> FlowRule:
        return FlowRule(Table.STITCH, priority, match, actions, goto, self._cookie)

    def _probe(self, priority: int, match: Match, *before: Action) -> FlowRule:
        return FlowRule(Table.STITCH, priority, match, (*before, _TO_CONTROLLER), cookie=self._probe_cookie)


def _out_of(members: list[Member], *before: Action) -> tuple[Action, ...]:
    """Out of each of their ports, once."""
    ports = sorted({member.port_no for member in members})
    return (*before, *(Output(port_no) for port_no in ports)) if ports else ()


def _steps(towards: Mapping[int, LinkKey], dpid: int) -> Iterator[LinkKey]:
    while (key := towards.get(dpid)) is not None:
        yield key
        dpid = key[2]
