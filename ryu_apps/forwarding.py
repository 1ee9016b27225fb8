"""Default forwarding: hosts of one virtual network reach each other on shortest paths, all others do not.

Owns the virtual networks. Answers ARP and neighbour discovery from the host table, so that neither is flooded.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import neighbours, wire
from ryu_apps.app import App, Tick, handles
from ryu_apps.connections import Connections
from ryu_apps.events import (
    DeleteVnet,
    NetworkChanged,
    PolicyChanged,
    PutVnet,
    StitchesChanged,
    VnetsChanged,
    VnetsRequest,
    WantRules,
)
from ryu_apps.host_tags import HostTags
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.store import StateStore
from stitching.network import Host, Network, PortId
from stitching.pipeline import default_rules, edge_ports
from stitching.policy.document import NO_POLICY, Policy
from stitching.policy.ruling import Ruling
from stitching.rules import PORT_CONTROLLER
from stitching.segment import SegmentTree
from stitching.spoofing import whose
from stitching.stitch import State
from stitching.vnet import Directory, VNet

SETTLE_S = 0.05
"""While the fabric keeps changing, rules are worked out at most this often."""

SEARCH_AGAIN_S = 0.5
"""An address that nobody has answered for is asked for at most this often."""

INSTALL_S = 0.03
"""What switches are given to take in the rules of a new host, before somebody is told that it is there."""

PENDING_S = 3.0
_JOINED = frozenset({State.UP, State.DEGRADED, State.ADJUSTING})
_MOST = 4096
"""Searches, and questions without an answer, that are remembered."""


class Forwarding(App):
    """Keeps the default rules of every switch in step with the fabric and the virtual networks."""

    _EVENTS: ClassVar[list[type]] = [VnetsChanged, WantRules]

    def __init__(
        self,
        *args: Any,
        store: StateStore,
        undecided: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._undecided = undecided
        self._store = store
        self._clock = clock
        self._network = Network()
        self._vnets: dict[str, VNet] = {vnet.name: vnet for vnet in store.vnets()}
        self._directory = Directory.of(self._vnets.values())
        self._policy: tuple[Policy, float] = (NO_POLICY, 0.0)
        self._ruling = Ruling(directory=self._directory)
        self._connections = Connections()
        self._segments: list[tuple[frozenset[str], frozenset[str]]] = []
        self._dirty = False
        self._computed_s = float("-inf")
        self._searches: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._tags = HostTags(clock)
        self._pending: OrderedDict[neighbours.Question, tuple[PortId, float]] = OrderedDict()

    def start(self) -> None:
        """Start the event loop, and tell the others which virtual networks there are."""
        super().start()
        self.publish(VnetsChanged(tuple(self._vnets.values())))
        self.every(SETTLE_S, "settle")

    # -- the rules ------------------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """The fabric changed: work the rules out at once, or soon if that was done just now."""
        self._network = event.network
        if event.network.encrypted_ports != self._ruling.marked:
            self._rule_anew()
            return
        self._dirty = True
        self._settle()

    @handles(Tick)
    def on_settle(self, _tick: Tick) -> None:
        """Catch up with changes that came too close together, and with questions that had to wait."""
        self._settle()
        if self._pending and not self._dirty and self._clock() - self._computed_s > INSTALL_S:
            self._answer_pending()

    def _settle(self) -> None:
        if not self._dirty or self._clock() - self._computed_s < SETTLE_S:
            return
        self._dirty = False
        rules = default_rules(self._network, self._directory, self._ruling, self._undecided)
        # Counted from the end: where the work itself takes long, it must not fill the whole time.
        self._computed_s = self._clock()
        self.publish(WantRules(FORWARDING, rules))

    # -- virtual networks -----------------------------------------------------------------------------------

    @handles(VnetsRequest)
    def on_vnets(self, request: VnetsRequest) -> None:
        """Answer which virtual networks there are."""
        self.serve(request, lambda: tuple(self._vnets[name] for name in sorted(self._vnets)))

    @handles(PutVnet)
    def on_put(self, request: PutVnet) -> None:
        """Store a virtual network, then make it so."""
        self.serve(request, lambda: self._put(request.vnet))

    def _put(self, vnet: VNet) -> bool:
        vnets = {**self._vnets, vnet.name: vnet}
        directory = Directory.of(vnets.values())
        self._store.save_vnet(vnet)
        new = vnet.name not in self._vnets
        self._use(vnets, directory)
        return new

    @handles(DeleteVnet)
    def on_delete(self, request: DeleteVnet) -> None:
        """Forget a virtual network; its hosts fall back to the default one."""
        self.serve(request, lambda: self._delete(request.name))

    def _delete(self, name: str) -> bool:
        if name not in self._vnets:
            return False
        self._store.delete_vnet(name)
        vnets = {other: vnet for other, vnet in self._vnets.items() if other != name}
        self._use(vnets, Directory.of(vnets.values()))
        return True

    def _use(self, vnets: dict[str, VNet], directory: Directory) -> None:
        self._vnets, self._directory = vnets, directory
        self.publish(VnetsChanged(tuple(vnets.values())))
        self._rule_anew()

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Make at once what the policy says now."""
        self._policy = event.policy, event.time_s
        self._rule_anew()

    def _rule_anew(self) -> None:
        policy, time_s = self._policy
        self._ruling = Ruling(policy, self._directory, time_s, self._network.encrypted_ports)
        self._dirty = True
        self._computed_s = float("-inf")
        self._settle()

    # -- who has this address? ------------------------------------------------------------------------------

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand, for packets to hosts."""
        self._connections.follow(event)

    @handles(ofp_event.EventOFPPacketIn, states=(MAIN_DISPATCHER,))
    def on_packet(self, event: Any) -> None:
        """Answer a question for an address, or search for its owner."""
        message = event.msg
        port = (message.datapath.id, message.match["in_port"])
        frame = bytes(message.data)
        question = neighbours.read_question(frame)
        if question is None or port in self._network.fabric_ports or self._is_forged(question, port):
            return
        known = self._network.hosts.get(question.sender_mac)
        if known is not None and known.port == port:
            self._tags.heard(question.sender_mac, question.vid)
        if question.sender_ip is None or self._answer(question, port):
            return
        self._pending[question] = (port, self._clock())
        if len(self._pending) > _MOST:
            self._pending.popitem(last=False)
        moving = known is not None and known.port != port
        if not moving and self._network.host_by_ip(question.target_ip) is None:
            self._search(question, self._sender(question, port), frame)

    def _is_forged(self, question: neighbours.Question, port: PortId) -> bool:
        """Whether it claims an address of somebody else: passed on, it would poison caches."""
        ip, mac = question.sender_ip, question.sender_mac
        forged = ip is not None and whose(ip, mac, self._network, self._directory) is not None
        member = self._directory.member(mac)
        return forged or (member is not None and member.port not in (None, port))

    def _answer(self, question: neighbours.Question, port: PortId) -> bool:
        """Answer from the host table. False while one of the two is not in it yet, and so has no rules."""
        asker = self._network.hosts.get(question.sender_mac)
        target = self._network.host_by_ip(question.target_ip)
        if asker is None or asker.port != port or target is None:
            return False
        if target.mac != asker.mac and self._may_meet(asker, target):
            reply = neighbours.answer(question, target.mac)
            if reply is not None and not self._are_apart(question, target):
                self._send(reply, [port])
        return True

    def _are_apart(self, question: neighbours.Question, target: Host) -> bool:
        """Whether the one that is asked for would not hear the asker: frames come out with the tag they have."""
        apart = self._tags.apart(question.vid, target.mac)
        if apart and self._tags.is_news(question.sender_mac, target.mac):
            behind = ",".join("none" if vid is None else str(vid) for vid in self._tags.of(target.mac))
            mine = "none" if question.vid is None else question.vid
            said = target.mac, behind, question.sender_mac, mine
            self.log.warning("event=other_tag asked=%s tag=%s asker=%s asker_tag=%s", *said)
        return apart

    def _may_meet(self, asker: Host, target: Host) -> bool:
        """By what the policy says, or in a segment that joins them."""
        if self._ruling.may_meet(asker, target):
            return True
        joined = any(target.mac in others for others in self._across(asker.mac))
        return joined and (
            self._ruling.denies(asker, target) is None or self._ruling.denies(target, asker) is None
        )

    def _across(self, mac: str) -> Iterator[frozenset[str]]:
        """The hosts of the other side of every segment that a host is in."""
        for sources, targets in self._segments:
            if mac in sources:
                yield targets
            elif mac in targets:
                yield sources

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """Know who is joined by a segment that carries."""
        self._segments = [
            (frozenset(m.mac for m in stitch.path.sources), frozenset(m.mac for m in stitch.path.targets))
            for stitch in event.stitches
            if isinstance(stitch.path, SegmentTree) and stitch.state in _JOINED
        ]

    def _answer_pending(self) -> None:
        oldest_s = self._clock() - PENDING_S
        for question, (port, asked_s) in list(self._pending.items()):
            if asked_s < oldest_s or self._answer(question, port):
                del self._pending[question]

    def _sender(self, question: neighbours.Question, port: PortId) -> Host:
        """The asker as far as it is known; the packet itself says enough to tell its virtual network."""
        known = self._network.hosts.get(question.sender_mac)
        if known is not None and known.port == port:
            return known
        ips = frozenset({question.sender_ip} if question.sender_ip else ())
        return Host(question.sender_mac, *port, ips)

    def _search(self, question: neighbours.Question, asker: Host, frame: bytes) -> None:
        """Ask on every edge port where the owner could be, but on none of hosts that the asker may not meet."""
        vnet = self._directory.vnet_of(asker)
        now_s = self._clock()
        if now_s - self._searches.get((vnet, question.target_ip), float("-inf")) < SEARCH_AGAIN_S:
            return
        self._searches[vnet, question.target_ip] = now_s
        self._searches.move_to_end((vnet, question.target_ip))
        if len(self._searches) > _MOST:
            self._searches.popitem(last=False)
        others = {host.port for host in self._network.hosts.values() if not self._may_meet(asker, host)}
        self._send(frame, (p for p in edge_ports(self._network) if p not in others and p != asker.port))

    def _send(self, frame: bytes, ports: Iterable[PortId]) -> None:
        per_switch: dict[int, list[int]] = defaultdict(list)
        for dpid, port_no in ports:
            per_switch[dpid].append(port_no)
        for dpid, numbers in per_switch.items():
            if dpid in self._connections:
                out = wire.packet_out(frame, in_port=PORT_CONTROLLER, out_ports=tuple(numbers))
                self._connections[dpid].send(out)
