"""GET /stats/...: what a switch is and what it counts, in the shapes of Ryu 4.34."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from os_ken.lib import ofctl_v1_3 as translate
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps import foreign
from ryu_apps.ofctl import bodies, translator
from ryu_apps.ofctl.app import ConnectedSwitches
from ryu_apps.ofctl.asking import OFCTL, PROBLEMS, ask, checked, dpid_in, number_in, stats
from ryu_apps.ofctl.described import FILTER, Described, Dpid, Group, Listed, Meter, Port, Queue
from ryu_apps.ofctl.readable import description
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import AppsOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.cookie import REST_OWNER

router = APIRouter(prefix="/stats", tags=["ryu"], dependencies=[needs(Role.VIEWER)], responses=PROBLEMS)


async def sent_body(request: Request) -> dict[str, Any]:
    """The object in the body of a request."""
    data = await request.body()
    return await run_in_threadpool(checked, lambda: bodies.read_body(data))


SentBody = Annotated[dict[str, Any], Depends(sent_body)]


@router.get("/switches")
def get_switches(apps: AppsOf) -> list[int]:
    """The dpids of all switches that are connected."""
    return list(apps.ask(OFCTL, ConnectedSwitches()))


def _plain(path: str, get: translator.Getter, what: str) -> None:
    """Serve what has no argument but the switch."""

    def handler(apps: AppsOf, dpid: Dpid) -> Listed:
        return stats(apps, dpid_in(dpid), get)

    router.get(f"/{path}/{{dpid}}", name=f"get_{path}", summary=what)(handler)


def _of_port(path: str, get: translator.Getter, what: str) -> None:
    """Serve what may be asked for one port too."""

    def one(apps: AppsOf, dpid: Dpid, port: Port) -> Listed:
        return stats(apps, dpid_in(dpid), get, _port_in(port))

    _plain(path, get, what)
    router.get(f"/{path}/{{dpid}}/{{port}}", name=f"get_one_{path}", summary=f"{what}, of one port")(one)


def _of_group(path: str, get: translator.Getter, what: str) -> None:
    """Serve what may be asked for one group too."""

    def one(apps: AppsOf, dpid: Dpid, group: Group) -> Listed:
        return stats(apps, dpid_in(dpid), get, number_in(group, "group"))

    _plain(path, get, what)
    router.get(f"/{path}/{{dpid}}/{{group}}", name=f"get_one_{path}", summary=f"{what}, of one group")(one)


def _of_meter(path: str, get: translator.Getter, what: str) -> None:
    """Serve what may be asked for one meter too."""

    def one(apps: AppsOf, dpid: Dpid, meter: Meter) -> Listed:
        return stats(apps, dpid_in(dpid), get, number_in(meter, "meter"))

    _plain(path, get, what)
    router.get(f"/{path}/{{dpid}}/{{meter}}", name=f"get_one_{path}", summary=f"{what}, of one meter")(one)


def _port_in(text: str) -> int:
    """A port in a path, by number or name."""
    if isinstance(named := getattr(ofp, f"OFPP_{text.upper()}", None), int):
        return named
    return number_in(text, "port")


@router.get("/desc/{dpid}")
def get_description(apps: AppsOf, dpid: Dpid) -> Described:
    """Who made the switch, and what it is."""
    switch = dpid_in(dpid)
    return description(switch, ask(apps, switch, translator.question(translate.get_desc_stats)))


_plain("table", translate.get_table_stats, "Counters of the tables")
_plain("tablefeatures", translate.get_table_features, "What each table can match and do")
_plain("groupfeatures", translate.get_group_features, "What groups the switch can have")
_plain("meterfeatures", translate.get_meter_features, "What meters the switch can have")
_of_port("port", translate.get_port_stats, "Counters of the ports")
_of_port("queue", translate.get_queue_stats, "Counters of the queues")
_of_port("queueconfig", translate.get_queue_config, "How the queues are set up")
_of_group("group", translate.get_group_stats, "Counters of the groups")
_of_meter("meter", translate.get_meter_stats, "Counters of the meters")
_of_meter("meterconfig", translate.get_meter_config, "How the meters are set up")


@router.get("/role/{dpid}")
def get_role(apps: AppsOf, dpid: Dpid) -> Listed:
    """The role of the controller at the switch."""
    roles = stats(apps, dpid_in(dpid), translate.get_role)
    # The translator shows all attributes of the message, when it was received among them.
    return {key: [{name: one[name] for name in ("generation_id", "role")} for one in roles[key]] for key in roles}


@router.get("/queue/{dpid}/{port}/{queue}")
def get_one_queue(apps: AppsOf, dpid: Dpid, port: Port, queue: Queue) -> Listed:
    """Counters of one queue."""
    return stats(apps, dpid_in(dpid), translate.get_queue_stats, _port_in(port), number_in(queue, "queue"))


@router.get("/portdesc/{dpid}")
def get_port_descriptions(apps: AppsOf, dpid: Dpid) -> Listed:
    """The ports: name, address, state, speed."""
    return stats(apps, dpid_in(dpid), translate.get_port_desc)


@router.get("/portdesc/{dpid}/{port}")
def get_port_description(apps: AppsOf, dpid: Dpid, port: Port) -> Listed:
    """One port. OpenFlow 1.3 cannot ask for one: it is picked from all."""
    wanted = _port_in(port)
    shown = (wanted, translate.UTIL.ofp_port_to_user(wanted))
    described = stats(apps, dpid_in(dpid), translate.get_port_desc)
    return {key: [one for one in ports if one["port_no"] in shown] for key, ports in described.items()}


@router.get("/groupdesc/{dpid}")
def get_group_descriptions(apps: AppsOf, dpid: Dpid) -> Listed:
    """The groups: type, buckets, actions."""
    return stats(apps, dpid_in(dpid), translate.get_group_desc)


@router.get("/groupdesc/{dpid}/{group}")
def get_group_description(apps: AppsOf, dpid: Dpid, group: Group) -> Listed:
    """One group. OpenFlow 1.3 cannot ask for one: it is picked from all."""
    wanted = number_in(group, "group")
    described = stats(apps, dpid_in(dpid), translate.get_group_desc)
    return {key: [one for one in groups if one["group_id"] == wanted] for key, groups in described.items()}


@router.get("/queuedesc/{dpid}", responses=documented(Kind.NOT_SERVED))
def get_queue_descriptions(dpid: Dpid) -> Listed:
    """Refused: OpenFlow 1.3 has no such message."""
    raise Problem(
        Kind.NOT_SERVED,
        "OpenFlow 1.3, which this controller speaks, has no queue descriptions",
        remedy=f"GET /stats/queueconfig/{dpid_in(dpid)} says how queues are set up",
    )


@router.get("/queuedesc/{dpid}/{port}", responses=documented(Kind.NOT_SERVED))
def get_queue_descriptions_of_port(dpid: Dpid, port: Port) -> Listed:
    """Refused: OpenFlow 1.3 has no such message."""
    _port_in(port)
    return get_queue_descriptions(dpid)


@router.get("/queuedesc/{dpid}/{port}/{queue}", responses=documented(Kind.NOT_SERVED))
def get_queue_description(dpid: Dpid, port: Port, queue: Queue) -> Listed:
    """Refused: OpenFlow 1.3 has no such message."""
    number_in(queue, "queue")
    return get_queue_descriptions_of_port(dpid, port)


@router.get("/flow/{dpid}")
def get_flows(apps: AppsOf, dpid: Dpid) -> Listed:
    """All rules with their counters, those of the controller included."""
    return _flows(apps, dpid, {})


@router.post("/flow/{dpid}", openapi_extra=FILTER)
def find_flows(apps: AppsOf, dpid: Dpid, body: SentBody) -> Listed:
    """The rules that the body asks for."""
    return _flows(apps, dpid, body)


@router.get("/aggregateflow/{dpid}")
def get_aggregate(apps: AppsOf, dpid: Dpid) -> Listed:
    """How many rules there are, and what all of them counted."""
    return _filtered(apps, dpid, translate.get_aggregate_flow_stats, {})


@router.post("/aggregateflow/{dpid}", openapi_extra=FILTER)
def find_aggregate(apps: AppsOf, dpid: Dpid, body: SentBody) -> Listed:
    """How many rules there are that the body asks for, and what they counted."""
    return _filtered(apps, dpid, translate.get_aggregate_flow_stats, body)


def _flows(apps: AppsOf, dpid: str, body: dict[str, Any]) -> dict[str, Any]:
    found = _filtered(apps, dpid, translate.get_flow_stats, body)
    for rules in found.values():
        for rule in rules:
            rule["cookie"] = foreign.shown_cookie(rule["cookie"], REST_OWNER)
    return found


def _filtered(
    apps: AppsOf, dpid: str, get: Callable[..., dict[str, Any]], body: Mapping[str, Any]
) -> dict[str, Any]:
    switch = dpid_in(dpid)

    def question() -> Any:
        bodies.check_flow(body)
        message = translator.question(get, _copied(body))
        foreign.claim_filter(message, REST_OWNER, always=False)
        return translator.encoded(message)

    replies = ask(apps, switch, checked(question))
    return translator.answer(get, switch, replies, _copied(body))


def _copied(body: Mapping[str, Any]) -> dict[str, Any]:
    # The translator changes the match of an ARP rule in place.
    return {**body, "match": dict(body.get("match", {}))}
