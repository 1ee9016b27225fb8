"""How fast rules become OpenFlow bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from benchmarks.controlling.rules import edge_rules
from benchmarks.support.figure import Better, Figure, MeasurementFailed
from ryu_apps import wire
from ryu_apps.interpreter import tuned
from stitching.match import Match
from stitching.rules import FlowRule, Output

_RULES = 20_000
_ROUNDS = 3
_TARGET = 500_000.0
_XID = 0x49000000


def flow_mod_encode() -> Iterator[Figure]:
    """FlowMods a second of one core, from rule to bytes, by our encoder and by os-ken's; rules no cache has seen.

    By the time that the core worked for it: what else runs on it meanwhile is not counted.
    """
    _check()
    ours, peers = [], []
    # As the controller does.
    with tuned():
        for number in range(_ROUNDS):
            rules = edge_rules(_RULES, first=number * _RULES)
            peers.append(_rate(_by_os_ken, rules))
            ours.append(_rate(_by_us, rules))
    yield Figure.over(
        name="flow_mod_encode",
        area="controller",
        runs=ours,
        unit="rules/s",
        better=Better.MORE,
        target=_TARGET,
        peer="os-ken OFPFlowMod.serialize",
        peer_value=median(peers),
    )


def _rate(encode: Callable[[FlowRule], bytes], rules: tuple[FlowRule, ...]) -> float:
    start_s = time.thread_time()
    for rule in rules:
        encode(rule)
    return len(rules) / (time.thread_time() - start_s)


def _by_us(rule: FlowRule) -> bytes:
    return wire.flow_mod(rule, _XID)


_PROTOCOL = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)


def _by_os_ken(rule: FlowRule) -> bytes:
    parser = ofproto_v1_3_parser
    instructions: list[Any] = []
    if rule.actions:
        actions = [parser.OFPActionOutput(action.port_no, action.max_len) for action in _outputs(rule)]
        instructions.append(parser.OFPInstructionActions(ofproto_v1_3.OFPIT_APPLY_ACTIONS, actions))
    if rule.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(rule.goto))
    message = parser.OFPFlowMod(
        _PROTOCOL,
        cookie=rule.cookie,
        table_id=rule.table,
        priority=rule.priority,
        out_port=ofproto_v1_3.OFPP_ANY,
        out_group=ofproto_v1_3.OFPG_ANY,
        match=_match(rule.match),
        instructions=instructions,
    )
    message.set_xid(_XID)
    message.serialize()
    return bytes(message.buf)


def _outputs(rule: FlowRule) -> list[Output]:
    return [action for action in rule.actions if isinstance(action, Output)]


def _match(match: Match) -> Any:
    fields = {"eth_src": match.eth_src, "eth_dst": match.eth_dst}
    return ofproto_v1_3_parser.OFPMatch(**{name: value for name, value in fields.items() if value is not None})


def _check() -> None:
    """A faster encoder that says something else would be no faster encoder."""
    for rule in edge_rules(2):
        if _by_us(rule) != _by_os_ken(rule):
            raise MeasurementFailed(f"the two encoders differ on {rule}")
