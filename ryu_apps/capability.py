"""Capability: what each switch says that it can do with meters, groups and tables."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps.app import App, Tick, handles
from ryu_apps.events import Capabilities, CapabilitiesRequest, DatapathFacts
from ryu_apps.transactions import Asker, Transactions
from stitching.enforcement import MeterFacts

_HEADER = struct.Struct("!BBHIHHxxxx")
_QUESTIONS = (ofp.OFPMP_DESC, ofp.OFPMP_METER_FEATURES, ofp.OFPMP_GROUP_FEATURES)
ANSWER_WITHIN_S = 5.0
"""A switch that has not answered all by then is told of with what it did say."""


class _Asked:
    """What a switch has said so far."""

    def __init__(self, datapath: Any, tables: int) -> None:
        self.datapath = datapath
        self.waiting: dict[int, int] = {}
        self.facts = DatapathFacts(datapath.id, tables)
        self.ticks = 0


class Capability(App):
    """Asks every switch once when it connects, and publishes what it can do. A refusal counts as `has none`."""

    _EVENTS: ClassVar[list[type]] = [Capabilities]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._xids = Transactions(Asker.CAPABILITY)
        self._asked: dict[int, _Asked] = {}
        self._known: dict[int, DatapathFacts] = {}
        self._tables: dict[Any, int] = {}

    def start(self) -> None:
        """Start handling events."""
        super().start()
        self.every(ANSWER_WITHIN_S, "late")

    @handles(ofp_event.EventOFPSwitchFeatures, states=(CONFIG_DISPATCHER,))
    def _on_features(self, event: Any) -> None:
        self._tables[event.msg.datapath] = event.msg.n_tables

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def _on_state(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self._ask(datapath)
            return
        self._tables.pop(datapath, None)
        if datapath.id in self._asked and self._asked[datapath.id].datapath is datapath:
            del self._asked[datapath.id]
            self._known.pop(datapath.id, None)

    def _ask(self, datapath: Any) -> None:
        asked = self._asked[datapath.id] = _Asked(datapath, self._tables.get(datapath, 0))
        self._known.pop(datapath.id, None)
        parts = []
        for question in _QUESTIONS:
            xid = next(self._xids)
            asked.waiting[xid] = question
            parts.append(_HEADER.pack(ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REQUEST, _HEADER.size, xid, question, 0))
        datapath.send(b"".join(parts))

    @handles(ofp_event.EventOFPDescStatsReply, states=(MAIN_DISPATCHER,))
    def _on_desc(self, event: Any) -> None:
        body = event.msg.body
        text = " ".join(part.decode(errors="replace") for part in (body.mfr_desc, body.hw_desc, body.sw_desc))
        self._answered(event.msg, software=text.strip())

    @handles(ofp_event.EventOFPMeterFeaturesStatsReply, states=(MAIN_DISPATCHER,))
    def _on_meters(self, event: Any) -> None:
        for body in event.msg.body[:1]:
            facts = MeterFacts(
                most=body.max_meter,
                kbps=bool(body.capabilities & ofp.OFPMF_KBPS),
                # A bitmap by band type, not of flags.
                drop=bool(body.band_types & (1 << ofp.OFPMBT_DROP)),
                burst=bool(body.capabilities & ofp.OFPMF_BURST),
            )
            self._answered(event.msg, meters=facts)

    @handles(ofp_event.EventOFPGroupFeaturesStatsReply, states=(MAIN_DISPATCHER,))
    def _on_groups(self, event: Any) -> None:
        body = event.msg.body
        failover = bool(body.types & (1 << ofp.OFPGT_FF))
        self._answered(
            event.msg,
            fast_failover_groups=body.max_groups[ofp.OFPGT_FF] if failover else None,
            watches_liveness=failover and bool(body.capabilities & ofp.OFPGFC_SELECT_LIVENESS),
        )

    @handles(ofp_event.EventOFPErrorMsg, states=(MAIN_DISPATCHER,))
    def _on_error(self, event: Any) -> None:
        if self._xids.owns(event.msg.xid):
            self._answered(event.msg)

    @handles(Tick)
    def _on_tick(self, _event: Tick) -> None:
        for dpid, asked in self._asked.items():
            asked.ticks += 1
            if asked.waiting and asked.ticks > 1:
                self.log.warning("event=capabilities_late dpid=%016x missing=%d", dpid, len(asked.waiting))
                asked.waiting.clear()
                self._conclude(dpid, asked)

    @handles(CapabilitiesRequest)
    def _on_request(self, request: CapabilitiesRequest) -> None:
        self.serve(request, lambda: MappingProxyType(dict(self._known)))

    def _answered(self, message: Any, **said: Any) -> None:
        dpid = message.datapath.id
        asked = self._asked.get(dpid)
        if asked is None or asked.datapath is not message.datapath:
            return
        if asked.waiting.pop(message.xid, None) is None:
            return
        asked.facts = DatapathFacts(**{**vars(asked.facts), **said})
        if not asked.waiting:
            self._conclude(dpid, asked)

    def _conclude(self, dpid: int, asked: _Asked) -> None:
        self._known[dpid] = asked.facts
        meters = asked.facts.meters
        text = "event=capabilities dpid=%016x tables=%d meters=%d fast_failover=%s"
        has_failover = asked.facts.fast_failover_groups is not None
        self.log.info(text, dpid, asked.facts.tables, meters.most if meters else 0, has_failover)
        self.publish(Capabilities(asked.facts))
