"""Entries of a switch as the API tells them, in the words of OpenFlow."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from stitching.match import L3Match, Match
from stitching.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Bypass,
    Entry,
    Failover,
    First,
    FlowRule,
    Output,
    PopLabel,
    PushLabel,
    SetDscp,
    SetQueue,
    StrayRule,
    ToGroup,
)

_PORTS = {PORT_IN_PORT: "in_port", PORT_CONTROLLER: "controller"}


class EntryView(BaseModel):
    """A rule, group or meter."""

    kind: Literal["rule", "group", "meter"]
    where: str = Field(description="Table and priority of a rule, the number of a group or meter.")
    match: str = Field(description="What a rule matches on.")
    does: str
    cookie: str | None = Field(description="16 hex digits; of rules only.")


def entry_view(entry: Entry) -> EntryView:
    """How the API tells an entry."""
    if isinstance(entry, FlowRule):
        return EntryView(
            kind="rule",
            where=f"table={entry.table:d} priority={entry.priority}",
            match=_match(entry.match),
            does=_does(entry),
            cookie=f"{entry.cookie:016x}",
        )
    if isinstance(entry, StrayRule):
        return EntryView(
            kind="rule",
            where=f"table={entry.table:d} priority={entry.priority}",
            match=entry.said,
            does="what none of ours does",
            cookie=f"{entry.cookie:016x}",
        )
    if isinstance(entry, Failover):
        ports = " else ".join(_port(port_no) for port_no in entry.ports)
        return EntryView(kind="group", where=str(entry.group_id), match="", does=ports, cookie=None)
    if isinstance(entry, Bypass):
        return EntryView(kind="group", where=str(entry.group_id), match="", does=_goes_round(entry), cookie=None)
    does = f"{entry.rate_kbps} kbit/s, burst {entry.burst_kb} kbit"
    return EntryView(kind="meter", where=str(entry.meter_id), match="", does=does, cookie=None)


def _goes_round(group: Bypass) -> str:
    first = {First.OUT: str(group.port_no), First.BACK: "in_port", First.NOTHING: "nothing"}[group.first]
    return f"{first} while {group.port_no} is alive else push_vlan:{group.vlan_vid & 0xFFF} {_port(group.via)}"


def _match(match: Match) -> str:
    return " ".join([*_set(match), *(_set(match.l3) if match.l3 is not None else ())])


def _set(part: Match | L3Match) -> list[str]:
    said = []
    for name, value in part._asdict().items():
        if value is not None and name != "l3":
            is_number = name in ("eth_type", "vlan_vid", "vlan_mask")
            said.append(f"{name}={value:#06x}" if is_number else f"{name}={value}")
    return said


def _does(rule: FlowRule) -> str:
    said = [f"meter:{rule.meter}"] if rule.meter is not None else []
    said += [_action(action) for action in rule.actions]
    said += [f"goto:{rule.goto:d}"] if rule.goto is not None else []
    return " ".join(said) or "drop"


def _action(action: Action) -> str:
    match action:
        case Output(port_no):
            return f"output:{_port(port_no)}"
        case ToGroup(group_id):
            return f"group:{group_id}"
        case PushLabel(vlan_vid, pcp):
            return f"push_vlan:{vlan_vid & 0xFFF}" + (f" pcp:{pcp}" if pcp else "")
        case PopLabel():
            return "pop_vlan"
        case SetQueue(queue_id):
            return f"set_queue:{queue_id}"
        case SetDscp(dscp):
            return f"set_dscp:{dscp}"


def _port(port_no: int) -> str:
    return _PORTS.get(port_no, str(port_no))
