"""A switch as the apps see it: it takes bytes, and a test says what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps import wire
from stitching.rules import FlowRule, RuleKey

_PROTOCOL = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
_FLOW_MOD, _PACKET_OUT, _MULTIPART, _BARRIER = 14, 13, 18, 20


@dataclass
class FakeSwitch:
    """A connection that keeps a flow table and notes, in order, every message that was sent over it."""

    id: int
    table: dict[RuleKey, FlowRule] = field(default_factory=dict)
    sent: list[tuple[int, int]] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    rtt_s: float | None = None
    ofproto = ofproto_v1_3
    ofproto_parser = ofproto_v1_3_parser

    def send(self, data: bytes) -> bool:
        """Carry out every message in data."""
        while data:
            _version, kind, length, xid = ofproto_parser.header(data)
            self.sent.append((kind, xid))
            message, data = data[:length], data[length:]
            if kind == _FLOW_MOD:
                self._apply(message)
            elif kind == _PACKET_OUT:
                self.packets.append(message)
        return True

    def _apply(self, data: bytes) -> None:
        version, kind, length, xid = ofproto_parser.header(data)
        flow_mod = ofproto_parser.msg(_PROTOCOL, version, kind, length, xid, bytearray(data))
        rule = wire.read_flow(flow_mod)
        assert rule is not None
        if flow_mod.command == ofproto_v1_3.OFPFC_ADD:
            self.table[rule.key] = rule
        else:
            self.table.pop(rule.key, None)

    @property
    def flow_mods(self) -> int:
        """How many FlowMods were sent so far."""
        return sum(kind == _FLOW_MOD for kind, _ in self.sent)

    def last(self, kind: int) -> int:
        """The xid of the newest message of this kind."""
        return next(xid for sent_kind, xid in reversed(self.sent) if sent_kind == kind)

    def state(self, state: str) -> Any:
        """The event of this connection entering a state."""
        return SimpleNamespace(datapath=self, state=state)

    def barrier_reply(self) -> Any:
        """The event that answers the newest barrier."""
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=self.last(_BARRIER)))

    def error(self, xid: int) -> Any:
        """The event of the switch refusing message xid: its table is full."""
        kind, code = ofproto_v1_3.OFPET_FLOW_MOD_FAILED, ofproto_v1_3.OFPFMFC_TABLE_FULL
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid, type=kind, code=code))

    def flows(self, *, more: bool = False) -> Any:
        """The event that answers the newest request for flows with what the table holds."""
        body = [_as_stats(rule) for rule in self.table.values()]
        flags = ofproto_v1_3.OFPMPF_REPLY_MORE if more else 0
        xid = self.last(_MULTIPART)
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid, body=body, flags=flags))


def _as_stats(rule: FlowRule) -> Any:
    data = wire.flow_mod(rule, 0)
    return ofproto_parser.msg(_PROTOCOL, *ofproto_parser.header(data), bytearray(data))
