"""Switches that have one of everything, asked through the app behind Ryu's paths; answers are as decoded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from os_ken.ofproto import ofproto_parser
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.app import Request
from ryu_apps.ofctl.app import AskSwitch, ChangeSwitch, ConnectedSwitches, UnknownSwitch
from tests.unit.decode import SWITCH

DPIDS = (1, 2, 3)

_ACTIONS = [
    parser.OFPActionSetField(ipv4_dst="10.0.0.9"),
    parser.NXActionResubmitTable(table_id=7),
    parser.OFPActionOutput(2),
]
_MATCH = parser.OFPMatch(in_port=1, eth_type=0x800, ipv4_src=("10.0.0.0", "255.0.0.0"))
_RULE = parser.OFPFlowStats(
    0, 5, 6, 11111, 0, 0, 0, (0x52 << 56) | 7, 10, 1000, _MATCH,
    [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, _ACTIONS), parser.OFPInstructionGotoTable(3)],
)  # fmt: skip
_BUCKETS = [parser.OFPBucket(0, 1, ofp.OFPG_ANY, [parser.OFPActionOutput(1)])]
_PORT_ADDRESS = "02:aa:00:00:00:01"

_BODIES: dict[int, Any] = {
    # Texts are whatever the vendor, or the owner of the switch, wrote.
    ofp.OFPMP_DESC: parser.OFPDescStats(b"Nicira", b"\xff", b"3.1", b"", "Zürich".encode()),
    ofp.OFPMP_FLOW: [_RULE],
    ofp.OFPMP_AGGREGATE: parser.OFPAggregateStats(10, 1000, 1),
    ofp.OFPMP_TABLE: [parser.OFPTableStats(0, 1, 10, 9)],
    ofp.OFPMP_TABLE_FEATURES: [parser.OFPTableFeaturesStats(0, b"\xff", 0, 0, 0, 1000, [])],
    ofp.OFPMP_PORT_STATS: [parser.OFPPortStats(number, *range(14)) for number in (1, ofp.OFPP_LOCAL)],
    ofp.OFPMP_PORT_DESC: [
        parser.OFPPort(1, _PORT_ADDRESS, b"s1-\xff", 0, 4, 2112, 0, 0, 0, 10_000_000, 0),
        parser.OFPPort(ofp.OFPP_LOCAL, _PORT_ADDRESS, b"s1", 1, 1, 0, 0, 0, 0, 0, 0),
    ],
    ofp.OFPMP_QUEUE: [parser.OFPQueueStats(1, 1, 10, 1, 0, 5, 6)],
    ofp.OFPMP_GROUP: [parser.OFPGroupStats(56, 1, 0, 1, 2, 3, 4, [parser.OFPBucketCounter(1, 2)])],
    ofp.OFPMP_GROUP_DESC: [parser.OFPGroupDescStats(ofp.OFPGT_FF, 1, _BUCKETS)],
    ofp.OFPMP_GROUP_FEATURES: parser.OFPGroupFeaturesStats(15, 7, [100] * 4, [1] * 4),
    ofp.OFPMP_METER: [parser.OFPMeterStats(1, 1, 2, 3, 4, 5, [parser.OFPMeterBandStats(1, 2)], 56)],
    ofp.OFPMP_METER_CONFIG: [parser.OFPMeterConfigStats(1, 1, [parser.OFPMeterBandDscpRemark(10, 5, 1)])],
    ofp.OFPMP_METER_FEATURES: [parser.OFPMeterFeaturesStats(100, 6, 15, 1, 0)],
}
_QUEUES = [parser.OFPPacketQueue(1, 1, [parser.OFPQueuePropMinRate(100)])]


class Switches:
    """Stands for the app Ofctl. `fails`: what asking any switch raises."""

    fails: Exception | None = None

    def __call__(self, request: Request[Any]) -> Any:
        if isinstance(request, ConnectedSwitches):
            return DPIDS
        assert isinstance(request, AskSwitch | ChangeSwitch)
        if self.fails is not None:
            raise self.fails
        if request.dpid not in DPIDS:
            raise UnknownSwitch(f"no switch {request.dpid} is connected")
        _, kind, length, _ = ofproto_parser.header(request.message)
        assert len(request.message) == length
        return (_reply(kind, request.message),) if isinstance(request, AskSwitch) else None


def _reply(kind: int, question: bytes) -> Any:
    if kind == ofp.OFPT_ROLE_REQUEST:
        return parser.OFPRoleReply(SWITCH, ofp.OFPCR_ROLE_EQUAL, 0)
    if kind == ofp.OFPT_QUEUE_GET_CONFIG_REQUEST:
        return parser.OFPQueueGetConfigReply(SWITCH, _QUEUES, 1)
    assert kind == ofp.OFPT_MULTIPART_REQUEST
    return SimpleNamespace(body=_BODIES[int.from_bytes(question[8:10], "big")])
