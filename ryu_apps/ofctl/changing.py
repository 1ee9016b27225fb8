"""POST /stats/.../add and its like: rules, groups, meters and ports; answered once the switch has done it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import APIRouter, Response
from os_ken.lib import ofctl_v1_3 as translate

from ryu_apps.ofctl import bodies, changes, recorded
from ryu_apps.ofctl.asking import PROBLEMS, ask, change, checked, dpid_in, stats
from ryu_apps.ofctl.described import ANYTHING, CHANGES, Dpid
from ryu_apps.ofctl.reading import SentBody
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import AppsOf
from ryu_apps.rest.problems import Kind, Problem, documented

router = APIRouter(prefix="/stats", tags=["ryu"], dependencies=[needs(Role.ADMIN)], responses=PROBLEMS)

DONE: dict[int | str, dict[str, Any]] = {200: {"description": "The switch has carried it out"}}
"""As Ryu: status 200 and no body."""


_BEFORE = {"flow": recorded.rules_before, "group": recorded.group_before, "meter": recorded.meter_before}


def _serve(kind: str, commands: Iterable[str], make: Callable[[dict[str, Any], str], Any]) -> None:
    for command in commands:
        _serve_one(kind, command, make)


def _serve_one(kind: str, command: str, make: Callable[[dict[str, Any], str], Any]) -> None:
    def handler(apps: AppsOf, body: SentBody, record: ChangeOf) -> Response:
        dpid, message = checked(lambda: (bodies.dpid_of(body), make(body, command)))
        record.after = recorded.given(dpid, body)
        if kind == "flow" and command == "add":
            replies = ask(apps, dpid, changes.same_rules(message))
            checked(lambda: changes.check_free(message, replies))
            record.before = recorded.found_before(dpid, message, replies)
        else:
            record.before = _BEFORE[kind](apps, dpid, message)
        change(apps, dpid, message)
        return Response()

    router.post(
        f"/{kind}entry/{command}",
        name=f"{command}_{kind}",
        summary=f"{command.replace('_', ' ').capitalize()} a {kind} entry",
        responses=DONE,
        response_class=Response,
        openapi_extra=CHANGES[kind],
    )(handler)


_serve("flow", changes.FLOW_COMMANDS, changes.flow_change)
_serve("group", changes.GROUP_COMMANDS, changes.group_change)
_serve("meter", changes.METER_COMMANDS, changes.meter_change)


@router.delete("/flowentry/clear/{dpid}", responses=DONE, response_class=Response)
def clear_flows(apps: AppsOf, dpid: Dpid, record: ChangeOf) -> Response:
    """Delete all rules that were added through these paths."""
    switch, message = dpid_in(dpid), changes.clear_flows()
    record.after = recorded.given(switch, {})
    record.before = recorded.rules_before(apps, switch, message)
    change(apps, switch, message)
    return Response()


@router.post(
    "/portdesc/modify",
    response_class=Response,
    responses={**DONE, **documented(Kind.UNKNOWN_SWITCH, Kind.UNKNOWN_PORT)},
    openapi_extra=CHANGES["port"],
)
def modify_port(apps: AppsOf, body: SentBody, record: ChangeOf) -> Response:
    """Change how a port behaves (config and mask), or what it advertises."""
    dpid, port_no = checked(
        lambda: (bodies.dpid_of(body), bodies.number(body.get("port_no", 0), "port_no", 0xFFFFFFFF))
    )
    for ports in stats(apps, dpid, translate.get_port_desc).values():
        for port in ports:
            if port["port_no"] == translate.UTIL.ofp_port_to_user(port_no):
                record.before, record.after = {"dpid": dpid, **port}, recorded.given(dpid, body)
                full = {"hw_addr": port["hw_addr"], "advertise": port["advertised"], **body}
                change(apps, dpid, checked(lambda full=full: changes.port_change(full)))  # type: ignore[misc]
                return Response()
    raise Problem(
        Kind.UNKNOWN_PORT,
        f"switch {dpid} has no port {port_no}",
        field="port_no",
        remedy=f"GET /stats/portdesc/{dpid} lists its ports",
    )


@router.post(
    "/experimenter/{dpid}", responses=documented(Kind.NOT_SERVED), response_class=Response, openapi_extra=ANYTHING
)
def send_experimenter(dpid: Dpid) -> Response:
    """Refused: nobody can tell what it would change."""
    raise Problem(
        Kind.NOT_SERVED,
        f"experimenter messages are not passed on to switch {dpid_in(dpid)}: they could change rules of anybody",
        remedy="use the other paths below /stats, or ovs-ofctl on the switch",
    )
