"""From a body to the message that changes a switch, with the cookie of the REST owner; ours are out of reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from os_ken.lib import ofctl_v1_3 as translate
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps import foreign
from ryu_apps.ofctl import bodies
from ryu_apps.ofctl.translator import BadBody, StandIn, encoded, message_of
from stitching.cookie import REST_OWNER, USER_MASK

FLOW_COMMANDS = {
    "add": ofp.OFPFC_ADD,
    "modify": ofp.OFPFC_MODIFY,
    "modify_strict": ofp.OFPFC_MODIFY_STRICT,
    "delete": ofp.OFPFC_DELETE,
    "delete_strict": ofp.OFPFC_DELETE_STRICT,
}
GROUP_COMMANDS = {"add": ofp.OFPGC_ADD, "modify": ofp.OFPGC_MODIFY, "delete": ofp.OFPGC_DELETE}
METER_COMMANDS = {"add": ofp.OFPMC_ADD, "modify": ofp.OFPMC_MODIFY, "delete": ofp.OFPMC_DELETE}


class NotYours(Exception):
    """What is to be changed belongs to somebody else; says to whom, and what to do."""


def flow_change(body: Mapping[str, Any], command: str) -> Any:
    """An OFPFlowMod that can only touch rules of the REST owner. Raises BadBody, NotYours."""
    bodies.check_flow(body)
    bodies.number(body.get("cookie", 0), "cookie", USER_MASK)
    message = message_of(
        lambda datapath: translate.mod_flow_entry(datapath, _copied(body), FLOW_COMMANDS[command])
    )
    if command == "add" and message.table_id == ofp.OFPTT_ALL:
        raise BadBody("a rule is added to one table, from 0 to 254", "table_id")
    foreign.claim(message, REST_OWNER)
    return _within(message)


def clear_flows() -> Any:
    """An OFPFlowMod that deletes all rules of the REST owner, in every table."""
    message = message_of(
        lambda datapath: translate.mod_flow_entry(datapath, {"table_id": ofp.OFPTT_ALL}, ofp.OFPFC_DELETE)
    )
    foreign.claim(message, REST_OWNER)
    return encoded(message)


def group_change(body: Mapping[str, Any], command: str) -> Any:
    """An OFPGroupMod. Raises BadBody, NotYours."""
    bodies.check_group(body)
    return _changed(translate.mod_group_entry, body, GROUP_COMMANDS[command])


def meter_change(body: Mapping[str, Any], command: str) -> Any:
    """An OFPMeterMod. Raises BadBody, NotYours."""
    bodies.check_meter(body)
    return _changed(translate.mod_meter_entry, body, METER_COMMANDS[command])


def port_change(body: Mapping[str, Any]) -> Any:
    """An OFPPortMod; body needs hw_addr and advertise too. Raises BadBody."""
    return message_of(lambda datapath: translate.mod_port_behavior(datapath, body))


def same_rules(flow_mod: Any) -> Any:
    """The request for the rules that an added one could replace."""
    return encoded(
        parser.OFPFlowStatsRequest(
            StandIn(0), 0, flow_mod.table_id, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, flow_mod.match
        )
    )


def check_free(flow_mod: Any, replies: Iterable[Any]) -> None:
    """Raise NotYours where an added rule would take the place of somebody else's: a switch does not ask whose."""
    entry = foreign.same_entry(flow_mod.match)
    for rule in (rule for reply in replies for rule in reply.body):
        taken = rule.priority == flow_mod.priority and foreign.same_entry(rule.match) == entry
        if taken and rule.cookie >> 56 != REST_OWNER:
            raise NotYours(
                f"table {rule.table_id} has a rule of this match and priority {rule.priority} already, which was "
                f"not added here: its cookie is {rule.cookie:#x}; take another priority"
            )


def _changed(translator: Callable[..., None], body: Mapping[str, Any], command: int) -> Any:
    return _within(message_of(lambda datapath: translator(datapath, _copied(body), command)))


def _within(message: Any) -> Any:
    if (reason := foreign.trespass(message)) is not None:
        raise NotYours(reason)
    return encoded(message)


def _copied(body: Mapping[str, Any]) -> dict[str, Any]:
    # The translator changes the match of an ARP rule in place.
    copy = dict(body)
    if isinstance(copy.get("match"), dict):
        copy["match"] = dict(copy["match"])
    return copy
