"""From what people write (mappings, lists and text, as YAML or JSON gives them) to a Document."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from stitching.intents import units
from stitching.intents.document import (
    DEFAULT_MBPS,
    FORMS,
    Apart,
    Document,
    End,
    EndBy,
    Form,
    Intent,
    Latency,
    Part,
    Rate,
    Reach,
    Share,
    Transfer,
)
from stitching.intents.faults import IntentError, where
from stitching.policy import moments
from stitching.policy.faults import Fault, Refused
from stitching.policy.fields import listed, one_of, text_in
from stitching.policy.windows import DAYS, Once, Weekly, Window
from stitching.stitch import Protection

MOST_INTENTS = 500

MOST_HOSTS, MOST_SUBNETS = 1000, 100
"""Hosts and subnets that a part of a network may name, as over REST."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def read_document(document: object) -> Document:
    """The intents that a document says: {intents: [...]}. Raises IntentError naming all that is wrong."""
    faults: list[Fault] = []
    try:
        items = listed(_fields(document, {"intents", "description"}).get("intents"), "intents", MOST_INTENTS)
    except Refused as error:
        raise IntentError([Fault("the document", error.field, error.reason, error.remedy)]) from error
    found: dict[str, Intent] = {}
    for number, item in enumerate(items, start=1):
        given = item.get("name") if isinstance(item, dict) else None
        place = where(given) if isinstance(given, str) else f"intent {number}"
        try:
            intent = _intent(item)
            if intent.name in found:
                raise Refused("name", "another intent has this name", "give each its own")
            found[intent.name] = intent
        except Refused as error:
            faults.append(Fault(place, error.field, error.reason, error.remedy))
    if faults:
        raise IntentError(faults)
    return Document(tuple(found.values()))


def _intent(item: object) -> Intent:
    fields = _fields(item, {"name", "description", *FORMS})
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = "it is missing" if name is None else f"{name!r} is no name"
        raise Refused("name", given, "use up to 63 lower case letters, digits and dashes")
    forms = sorted(fields.keys() & FORMS.keys())
    if len(forms) != 1:
        said = f"it says {' and '.join(forms)}" if forms else "it does not say what is wanted"
        raise Refused(forms[1] if forms else "name", said, f"say one of: {', '.join(FORMS)}")
    form = _READERS[forms[0]](fields[forms[0]])
    return Intent(name, form, text_in(fields.get("description", " "), "description").strip())


def _latency(item: object) -> Latency:
    known = {"between", "app", "max_latency", "bandwidth", "protection", "max_loss"}
    fields = _fields(item, known, "latency")
    latency = _given(fields, "max_latency", units.ms_in)
    return Latency(
        _pair(fields),
        _given(fields, "app", units.application_in),
        latency,
        _given(fields, "bandwidth", units.mbps_in) or DEFAULT_MBPS,
        Protection(one_of(fields.get("protection", "none"), tuple(Protection), "protection")),
        _given(fields, "max_loss", units.share_in),
    )


def _transfer(item: object) -> Transfer:
    known = {"from", "to", "amount", "app", "start", "deadline", "days", "zone"}
    fields = _fields(item, known, "transfer")
    return Transfer(
        _end(fields.get("from"), "from"),
        _end(fields.get("to"), "to"),
        units.mbit_in(fields.get("amount"), "amount"),
        _window(fields),
        _given(fields, "app", units.application_in),
    )


def _apart(item: object) -> Apart:
    ends = tuple(_end(one, "apart") for one in listed(item, "apart", 20))
    if len(set(ends)) < 2 or len(set(ends)) < len(ends):
        raise Refused("apart", "it takes two or more, each once", "say [red, blue]")
    return Apart(ends)


def _reach(item: object) -> Reach:
    fields = _fields(item, {"from", "to", "app", "until"}, "reach")
    application = _given(fields, "app", units.application_in)
    if application is not None and (application.ip_dscp is not None or application.ip_proto is None):
        raise Refused("app", "who may talk is decided by protocol and port", "say tcp/443, without @DSCP")
    return Reach(
        _end(fields.get("from"), "from"),
        _end(fields.get("to"), "to"),
        application,
        _given(fields, "until", moments.moment_s),
    )


def _share(item: object) -> Share:
    fields = _fields(item, {"between", "bandwidth", "max_latency", "max_loss"}, "share")
    one, other = (_part(side) for side in _two(fields))
    return Share(
        (one, other),
        _given(fields, "bandwidth", units.mbps_in) or DEFAULT_MBPS,
        _given(fields, "max_latency", units.ms_in),
        _given(fields, "max_loss", units.share_in),
    )


def _rate(item: object) -> Rate:
    fields = _fields(item, {"from", "to", "guarantee", "cap", "follow_forecast"}, "rate")
    guarantee = _given(fields, "guarantee", units.mbps_in)
    cap = _given(fields, "cap", units.mbps_in)
    follows = fields.get("follow_forecast", False)
    if guarantee is None and cap is None:
        raise Refused("guarantee", "it says neither guarantee nor cap", "say guarantee: 5 Mbit/s, cap: 10 Mbit/s")
    if guarantee is not None and cap is not None and guarantee > cap:
        raise Refused("guarantee", "it is above the cap", "say less, or a larger cap")
    if not isinstance(follows, bool):
        raise Refused("follow_forecast", f"{follows!r} is neither true nor false", "say true, or leave it out")
    if follows and guarantee is None:
        raise Refused("follow_forecast", "there is no guarantee to begin with", "say guarantee: 5 Mbit/s")
    return Rate(_network(fields.get("from"), "from"), _network(fields.get("to"), "to"), guarantee, cap, follows)


_READERS: dict[str, Callable[[object], Form]] = {
    "latency": _latency,
    "transfer": _transfer,
    "apart": _apart,
    "reach": _reach,
    "share": _share,
    "rate": _rate,
}


def _window(fields: Mapping[str, Any]) -> Window:
    """Daily, where the deadline is a time of day; once, where it is a moment."""
    deadline = fields.get("deadline")
    if not (isinstance(deadline, str) and _CLOCK.fullmatch(deadline)):
        if {"days", "zone"} & fields.keys():
            raise Refused(
                "days", "days and zone go with a time of day", "say deadline: '06:00', or leave them out"
            )
        end_s = moments.moment_s(deadline, "deadline")
        start_s = moments.moment_s(fields["start"], "start") if "start" in fields else float("-inf")
        if start_s >= end_s:
            raise Refused("deadline", "it is before the start", "swap them")
        return Once(start_s, end_s)
    start = fields.get("start", deadline)
    if not (isinstance(start, str) and _CLOCK.fullmatch(start)):
        raise Refused("start", f"{start!r} is no time of day", "say 22:00, as the deadline is one too")
    days = listed(fields.get("days", list(DAYS)), "days", 7)
    if not days or not all(day in DAYS for day in days):
        raise Refused("days", f"{days!r} are no days", f"choose from [{', '.join(DAYS)}]: those it begins on")
    zone = fields.get("zone")
    try:
        ZoneInfo(zone if isinstance(zone, str) else "")
    except (ValueError, OSError, KeyError):
        said = "it says no time zone" if zone is None else f"{zone!r} is no time zone here"
        raise Refused("zone", said, "add an IANA name: Europe/Berlin, or UTC") from None
    return Weekly(frozenset(map(DAYS.index, days)), _minute(start), _minute(deadline), str(zone))


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _pair(fields: Mapping[str, Any]) -> tuple[End, End]:
    one, other = _two(fields)
    return _end(one, "between"), _end(other, "between")


def _two(fields: Mapping[str, Any]) -> tuple[object, object]:
    items = listed(fields.get("between"), "between", 2)
    if len(items) != 2:
        raise Refused("between", f"it names {len(items)}", "name two: between: [h1, h2]")
    return items[0], items[1]


def _part(item: object) -> Part:
    """An end, or {vnet: NAME, hosts: [...], subnets: [...]}."""
    if not isinstance(item, dict) or len(item) < 2:
        return Part(_end(item, "between"))
    fields = _fields(item, {"vnet", "hosts", "subnets"}, "a part of a network")
    names = [_end(one, "hosts").name for one in listed(fields.get("hosts", []), "hosts", MOST_HOSTS)]
    subnets = [_subnet(one) for one in listed(fields.get("subnets", []), "subnets", MOST_SUBNETS)]
    return Part(_network(fields.get("vnet"), "vnet"), tuple(names), tuple(sorted(set(subnets))))


def _subnet(item: object) -> str:
    try:
        return str(ipaddress.ip_network(item if isinstance(item, str) else ""))
    except ValueError as error:
        raise Refused(
            "subnets", f"{item!r} is no subnet: {error}", "say 10.1.0.0/16, without host bits"
        ) from error


def _network(item: object, field: str) -> End:
    end = _end(item, field)
    if end.by not in (EndBy.NAME, EndBy.VNET):
        raise Refused(field, f"a {end.by} is no virtual network", "name a virtual network")
    return End(EndBy.VNET, end.name)


def _end(item: object, field: str) -> End:
    how = "say a name, or {host: NAME}, {vnet: NAME} or {group: NAME}"
    by, name = EndBy.NAME, item
    if isinstance(item, dict) and len(item) == 1:
        ((kind, name),) = item.items()
        if kind not in (EndBy.HOST, EndBy.VNET, EndBy.GROUP):
            raise Refused(field, f"{kind!r} is nothing to name an end by", how)
        by = EndBy(kind)
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        raise Refused(field, "it is missing" if item is None else f"{item!r} names nobody", how)
    return End(by, name.strip())


def _given(fields: Mapping[str, Any], field: str, read: Callable[[object, str], Any]) -> Any:
    return read(fields[field], field) if field in fields else None


def _fields(value: object, known: set[str], what: str = "the document") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(what, "it is no mapping", f"it may have {', '.join(sorted(known))}; see docs/intents.md")
    for name in value:
        if name not in known:
            raise Refused(str(name), "there is no such field", f"{what} may have {', '.join(sorted(known))}")
    return value
