"""What the audit says of a change that goes to a switch: what was there before, and what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from os_ken.lib import ofctl_v1_3 as translate
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps import foreign
from ryu_apps.ofctl import translator
from ryu_apps.ofctl.asking import ask
from ryu_apps.ofctl.translator import StandIn, encoded
from ryu_apps.rest.apps import Apps
from ryu_apps.rest.problems import Kind, Problem
from stitching.cookie import REST_OWNER

MOST_RULES = 200
"""Of more rules than these only their number is kept: reading a full table takes longer than changing it."""

_DELETES = frozenset({ofp.OFPFC_DELETE, ofp.OFPFC_DELETE_STRICT})
_STRICT = frozenset({ofp.OFPFC_MODIFY_STRICT, ofp.OFPFC_DELETE_STRICT})


def given(dpid: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """What was sent, for `after`: a switch does not say what it made of it."""
    return {"dpid": dpid, "given": dict(body)}


def rules_before(apps: Apps, dpid: int, flow_mod: Any) -> dict[str, Any] | None:
    """The REST owner's rules that a change is about, before it; None where the switch refuses to tell."""
    deletes = flow_mod.command in _DELETES
    out = (flow_mod.out_port, flow_mod.out_group) if deletes else (ofp.OFPP_ANY, ofp.OFPG_ANY)
    where = (flow_mod.table_id, *out, flow_mod.cookie, flow_mod.cookie_mask, flow_mod.match)
    strict = flow_mod.command in _STRICT
    try:
        if not strict:
            number = _number(ask(apps, dpid, encoded(parser.OFPAggregateStatsRequest(StandIn(0), 0, *where))))
            if number == 0 or number > MOST_RULES:
                return {"dpid": dpid, "rules": [] if number == 0 else number}
        replies = ask(apps, dpid, encoded(parser.OFPFlowStatsRequest(StandIn(0), 0, *where)))
    except Problem as problem:
        _raise_unless_refused(problem)
        return None
    return found_before(dpid, flow_mod if strict else None, replies)


def found_before(dpid: int, same_as: Any | None, replies: Iterable[Any]) -> dict[str, Any]:
    """The rules of the REST owner in an answer; where same_as is given, the one whose place it takes."""
    rules = [rule for reply in replies for rule in reply.body if rule.cookie >> 56 == REST_OWNER]
    if same_as is not None:
        entry = foreign.same_entry(same_as.match)
        rules = [
            rule for rule in rules if rule.priority == same_as.priority and foreign.same_entry(rule.match) == entry
        ]
    if len(rules) > MOST_RULES:
        return {"dpid": dpid, "rules": len(rules)}
    # Other apps were given the same answer: it stays as it is.
    shown = translator.answer(translate.get_flow_stats, dpid, [SimpleNamespace(body=rules)], {})[str(dpid)]
    for rule in shown:
        rule["cookie"] = foreign.shown_cookie(rule["cookie"], REST_OWNER)
    return {"dpid": dpid, "rules": shown}


def group_before(apps: Apps, dpid: int, group_mod: Any) -> dict[str, Any] | None:
    """The group of a group change before it, if there was one."""
    return _listed(apps, dpid, translate.get_group_desc, "group_id", group_mod.group_id)


def meter_before(apps: Apps, dpid: int, meter_mod: Any) -> dict[str, Any] | None:
    """The meter of a meter change before it, if there was one."""
    return _listed(apps, dpid, translate.get_meter_config, "meter_id", meter_mod.meter_id)


def _listed(apps: Apps, dpid: int, get: translator.Getter, name: str, number: int) -> dict[str, Any] | None:
    # All are asked for and one is picked: a switch answers with an error where it has none of this number.
    try:
        replies = ask(apps, dpid, translator.question(get))
    except Problem as problem:
        _raise_unless_refused(problem)
        return None
    found = [one for one in translator.answer(get, dpid, replies).get(str(dpid), []) if one[name] == number]
    return {"dpid": dpid, **found[0]} if found else None


def _number(replies: tuple[Any, ...]) -> int:
    return sum(reply.body.flow_count for reply in replies)


def _raise_unless_refused(problem: Problem) -> None:
    """A switch that does not tell may still change; any other failure is one of the change too."""
    if problem.view.type != Kind.REFUSED.uri:
        raise problem
