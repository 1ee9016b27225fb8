"""Every action of Open vSwitch that os-ken decodes can be shown, also those its translator fails on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from os_ken.lib import ofctl_v1_3 as translate
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.ofctl import translator

ACTIONS = [
    parser.NXActionResubmit(3),
    parser.NXActionResubmitTable(table_id=7),
    parser.NXActionRegLoad(31, "reg0", 7),
    parser.NXActionRegMove("eth_src", "eth_dst", 48),
    parser.NXActionNote([1, 2]),
    parser.NXActionConjunction(1, 2, 3),
    parser.NXActionController(64, 0, 0),
    parser.NXActionLearn(1, [parser.NXFlowSpecMatch(("eth_src", 0), ("eth_dst", 0), 48)]),
    parser.NXActionFinTimeout(1, 2),
    parser.NXActionExit(),
    parser.NXActionDecTtl(),
    parser.NXActionCTClear(),
    parser.NXActionCT(1, "", 0, 4, 0, [parser.NXActionNAT(1)]),
    parser.NXActionCT(1, "", 0, 4, 0, [parser.NXActionRegLoad(31, "reg0", 7)]),
    parser.NXActionOutputReg(31, "reg0", 0),
    parser.OFPActionExperimenterUnknown(0x1234, b"12345678"),
]


def received(action: Any) -> Any:
    """The action as it is decoded from a switch's answer."""
    buffer = bytearray()
    action.serialize(buffer, 0)
    return parser.OFPAction.parser(bytes(buffer), 0)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_it_is_shown_in_rules_and_groups(action: Any) -> None:
    instruction = parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [received(action)])
    rule = parser.OFPFlowStats(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, parser.OFPMatch(), [instruction])
    (shown,) = translator.answer(translate.get_flow_stats, 1, [SimpleNamespace(body=[rule])])["1"]
    group = parser.OFPGroupDescStats(0, 1, [parser.OFPBucket(actions=[received(action)])])
    (described,) = translator.answer(translate.get_group_desc, 1, [SimpleNamespace(body=[group])])["1"]
    assert shown["actions"] == described["buckets"][0]["actions"]
    assert all(isinstance(text, str) and text for text in shown["actions"])
