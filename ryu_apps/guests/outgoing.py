"""Messages of a hosted app on their way to a switch: moved into its tables, put under its owner, or refused."""

from __future__ import annotations

import copy
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps import foreign
from ryu_apps.guests.share import NotYours, Share

_AS_THEY_ARE = frozenset(
    {
        *(ofp.OFPT_ECHO_REQUEST, ofp.OFPT_ECHO_REPLY, ofp.OFPT_FEATURES_REQUEST, ofp.OFPT_GET_CONFIG_REQUEST),
        *(ofp.OFPT_PORT_MOD, ofp.OFPT_BARRIER_REQUEST, ofp.OFPT_QUEUE_GET_CONFIG_REQUEST),
        *(ofp.OFPT_GET_ASYNC_REQUEST, ofp.OFPT_PACKET_OUT, ofp.OFPT_GROUP_MOD, ofp.OFPT_METER_MOD),
    }
)
_REFUSED = {
    ofp.OFPT_SET_CONFIG: "the settings of the connection are shared with the controller",
    ofp.OFPT_SET_ASYNC: "what the switch reports is shared with the controller",
    ofp.OFPT_ROLE_REQUEST: "the role at the switch is the controller's",
    ofp.OFPT_TABLE_MOD: "tables are set up by the controller",
    ofp.OFPT_EXPERIMENTER: "nobody can tell what an experimenter message would change",
}


def outgoing(message: Any, share: Share) -> Any:
    """The message that is sent in place of this one, which stays as it is. Raises NotYours."""
    kind = message.cls_msg_type
    if kind == ofp.OFPT_FLOW_MOD:
        message = _flow_mod(message, share)
    elif kind == ofp.OFPT_MULTIPART_REQUEST:
        return _question(message, share)
    elif kind == ofp.OFPT_ROLE_REQUEST and message.role == ofp.OFPCR_ROLE_NOCHANGE:
        return copy.copy(message)
    elif kind not in _AS_THEY_ARE:
        raise NotYours(_REFUSED.get(kind, "this kind of message is the controller's to send"))
    if (reason := foreign.trespass(message)) is not None:
        raise NotYours(reason)
    return copy.copy(message)


def _flow_mod(message: Any, share: Share) -> Any:
    moved = copy.copy(message)
    deletes = message.command in (ofp.OFPFC_DELETE, ofp.OFPFC_DELETE_STRICT)
    if message.table_id == ofp.OFPTT_ALL and not deletes:
        raise NotYours("a rule is put into one table, from 0 on")
    moved.table_id = share.table_of(message.table_id)
    moved.instructions = [_moved(instruction, share) for instruction in message.instructions or ()]
    foreign.claim(moved, share.owner)
    return moved


def _moved(instruction: Any, share: Share) -> Any:
    if instruction.type != ofp.OFPIT_GOTO_TABLE:
        return instruction
    moved = copy.copy(instruction)
    moved.table_id = share.table_of(instruction.table_id)
    return moved


def _question(message: Any, share: Share) -> Any:
    question = copy.copy(message)
    if message.type in (ofp.OFPMP_FLOW, ofp.OFPMP_AGGREGATE):
        question.table_id = share.table_of(message.table_id)
        foreign.claim_filter(question, share.owner, always=True)
    elif message.type == ofp.OFPMP_TABLE_FEATURES and message.body:
        raise NotYours("tables are set up by the controller")
    elif message.type == ofp.OFPMP_EXPERIMENTER:
        raise NotYours("nobody can tell what an experimenter message would change")
    return question
