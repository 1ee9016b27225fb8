"""The rules of a segment: who may send to whom, by which label it goes along the tree, and where it comes out.

A packet for one host is labelled where it enters and follows the tree by (label, destination). Broadcast is copied
into the tree beside what it does in its own network, and out of the ports of the other side's members alone. Each
direction has a label of its own, so that a switch in between knows whose side a packet comes from.

Table 3 passes a packet on along the tree; where there are members it goes on to table 4 with its label, which
gives it to them, or to the controller where it is a probe: the same rules pass on probes, those of broadcast too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import ETH_PROBE, MULTICAST, VLAN_PRESENT, Match
from stitching.network import LinkKey
from stitching.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    WHOLE_PACKET,
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

_PROBE_HERE, _BEHIND, _ENTER = 510, 400, 190
_ARRIVED = 150
"""Above the rule that drops all labels: what is not passed on is for the members here."""

_PROBE_OUT, _OUT = 310, 300
"""In table 4, above the rule that drops all labels there."""

_PERMIT = 100
"""In table 1, below all rules of a policy: these come first. Only the default deny is behind."""


def segment_rules(stitch_id: int, tree: SegmentTree) -> dict[int, dict[EntryKey, Entry]]:
    """All a segment without detours needs, per switch."""
    entries: dict[int, list[Entry]] = defaultdict(list)
    for number in range(len(tree.ways)):
        for dpid, entry in Way(stitch_id, tree, number).entries():
            entries[dpid].append(entry)
    return {dpid: rule_set(switch_entries) for dpid, switch_entries in entries.items()}


class Way:
    """One direction of a segment. Towards each switch with receivers packets leave a switch by one port."""

    def __init__(self, stitch_id: int, tree: SegmentTree, number: int) -> None:
        self.senders, self.receivers, label = tree.ways[number]
        self.label = label | VLAN_PRESENT
        self._cookie = cookie.pack(Kind.STITCH, epoch=tree.since, stitch=stitch_id)
        self._probe_cookie = cookie.pack(Kind.PROBE, epoch=tree.since, stitch=stitch_id)
        self._local: dict[int, list[Member]] = defaultdict(list)
        for receiver in self.receivers:
            self._local[receiver.dpid].append(receiver)
        ports = ports_of(tree.links)
        self.towards = {dpid: links_towards(ports, dpid) for dpid in sorted(self._local)}
        self._beyond: dict[int, set[int]] = defaultdict(set)
        for towards in self.towards.values():
            for here, key in towards.items():
                self._beyond[here].add(key[1])

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Everything this direction needs, with the switch it belongs to."""
        for sender in self.senders:
            yield from self._enter(sender)
        for dpid in sorted({sender.dpid for sender in self.senders}):
            if self._beyond[dpid]:
                flood = Match(
                    PORT_CONTROLLER,
                    eth_dst=MULTICAST,
                    eth_dst_mask=MULTICAST,
                    eth_type=ETH_PROBE,
                    vlan_vid=self.label,
                )
                actions = self.spread(dpid, PORT_CONTROLLER)
                yield dpid, FlowRule(Table.STITCH, _PROBE_HERE, flood, actions, cookie=self._probe_cookie)
        yield from self.pass_on()
        for dpid in self._reached():
            yield from self._arrive(dpid)

    # -- what there are other ways of ----------------------------------------------------------------------

    def onward(self, dpid: int, target: int, in_port: int) -> tuple[Action, ...]:  # noqa: ARG002
        """On from a switch to another one by the tree, what has come in by this port."""
        return (Output(self.towards[target][dpid][1]),)

    def spread(self, dpid: int, in_port: int) -> tuple[Action, ...]:
        """On to all switches beyond this one that somebody receives at; never back by the port it came in by."""
        return tuple(Output(port_no) for port_no in self.beyond(dpid, in_port))

    def pass_on(self) -> Iterator[tuple[int, Entry]]:
        """What switches on the tree do with what comes to them by it."""
        for receiver in self.receivers:
            for dpid in self._crossed(receiver.dpid):
                inside = Match(vlan_vid=self.label, eth_dst=receiver.mac)
                # By no port in particular: what comes by the one it leaves by has no way here.
                yield dpid, self.rule(inside, self.onward(dpid, receiver.dpid, 0))
        for dpid in self._reached():
            if self._beyond[dpid]:
                yield dpid, self.broadcast_rule(dpid, Match(vlan_vid=self.label), self.spread(dpid, 0))

    # -- for those that are made of this -------------------------------------------------------------------

    def beyond(self, dpid: int, in_port: int) -> list[int]:
        """The ports of the tree, but for one, beyond which somebody receives."""
        return sorted(self._beyond[dpid] - {in_port})

    def receives(self, dpid: int) -> bool:
        """Whether somebody receives at a switch."""
        return dpid in self._local

    def rule(self, match: Match, actions: tuple[Action, ...], *, goto: int | None = None) -> FlowRule:
        """What is done in table 3 with packets that carry a label."""
        return FlowRule(Table.STITCH, _BEHIND, match, actions, goto, self._cookie)

    def broadcast_rule(self, dpid: int, match: Match, actions: tuple[Action, ...]) -> FlowRule:
        """The same for broadcast, which also goes to the members here."""
        goto = Table.FORWARD if self.receives(dpid) else None
        group = Match(match.in_port, eth_dst=MULTICAST, eth_dst_mask=MULTICAST, vlan_vid=match.vlan_vid)
        return self.rule(group, actions, goto=goto)

    def arriving(self, match: Match, actions: tuple[Action, ...] = ()) -> FlowRule:
        """What is not passed on is for the members here."""
        return FlowRule(Table.STITCH, _ARRIVED, match, actions, Table.FORWARD, self._cookie)

    # -- ends ----------------------------------------------------------------------------------------------

    def _enter(self, sender: Member) -> Iterator[tuple[int, Entry]]:
        dpid = sender.dpid
        for receiver in self.receivers:
            pair = Match(eth_src=sender.mac, eth_dst=receiver.mac)
            permit = cookie.pack(Kind.SEGMENT)
            yield dpid, FlowRule(Table.SEGMENT, _PERMIT, pair, goto=Table.METER, cookie=permit)
            if receiver.dpid == dpid:
                out = Output(PORT_IN_PORT if receiver.port_no == sender.port_no else receiver.port_no)
                yield dpid, self._entrance(pair, (out,))
                probe = Match(
                    in_port=PORT_CONTROLLER, eth_src=sender.mac, eth_dst=receiver.mac, eth_type=ETH_PROBE
                )
                to_controller = (Output(PORT_CONTROLLER, WHOLE_PACKET),)
                yield dpid, FlowRule(Table.STITCH, _PROBE_HERE, probe, to_controller, cookie=self._probe_cookie)
            else:
                onward = self.onward(dpid, receiver.dpid, sender.port_no)
                yield dpid, self._entrance(pair, (PushLabel(self.label), *onward))
        group = Match(in_port=sender.port_no, eth_src=sender.mac, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
        onwards = self.spread(dpid, sender.port_no)
        into_tree = (PushLabel(self.label), *onwards, PopLabel()) if onwards else ()
        here = _out_of([member for member in self._hearing(dpid) if member.port_no != sender.port_no])
        # And on to where broadcast goes anyway, in the network of its own.
        yield dpid, self._entrance(group, (*here, *into_tree), goto=Table.FORWARD)

    def _arrive(self, dpid: int) -> Iterator[tuple[int, Entry]]:
        """What has come to a switch with receivers: without its label out of their ports."""
        if not self.receives(dpid):
            return
        yield dpid, self.arriving(Match(vlan_vid=self.label))
        for receiver in self._local[dpid]:
            yield dpid, self._out(Match(vlan_vid=self.label, eth_dst=receiver.mac), Output(receiver.port_no))
        if hearing := _out_of(self._hearing(dpid)):
            group = Match(vlan_vid=self.label, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
            yield dpid, self._out(group, *hearing)
        probe = Match(vlan_vid=self.label, eth_type=ETH_PROBE)
        to_controller = (PopLabel(), Output(PORT_CONTROLLER, WHOLE_PACKET))
        yield dpid, FlowRule(Table.FORWARD, _PROBE_OUT, probe, to_controller, cookie=self._probe_cookie)

    def _entrance(self, match: Match, actions: tuple[Action, ...], goto: int | None = None) -> FlowRule:
        return FlowRule(Table.STITCH, _ENTER, match, actions, goto, self._cookie)

    def _out(self, match: Match, *outputs: Action) -> FlowRule:
        return FlowRule(Table.FORWARD, _OUT, match, (PopLabel(), *outputs), cookie=self._cookie)

    # -- where the tree leads --------------------------------------------------------------------------------

    def _crossed(self, target: int) -> list[int]:
        """The switches that packets from any sender cross on their way to this one, but for where they enter."""
        crossed = {
            key[2]
            for sender in self.senders
            for key in _steps(self.towards[target], sender.dpid)
            if key[2] != target
        }
        return sorted(crossed)

    def _reached(self) -> list[int]:
        """The switches that broadcast comes to by the tree."""
        reached = {
            key[2]
            for towards in self.towards.values()
            for sender in self.senders
            for key in _steps(towards, sender.dpid)
        }
        return sorted(reached)

    def _hearing(self, dpid: int) -> list[Member]:
        """The receivers at a switch that do not hear broadcast of the other side's network already."""
        return [member for member in self._local.get(dpid, ()) if not member.hears]


def _out_of(members: list[Member]) -> tuple[Action, ...]:
    """Out of each of their ports, once."""
    return tuple(Output(port_no) for port_no in sorted({member.port_no for member in members}))


def _steps(towards: dict[int, LinkKey], dpid: int) -> Iterator[LinkKey]:
    while (key := towards.get(dpid)) is not None:
        yield key
        dpid = key[2]
