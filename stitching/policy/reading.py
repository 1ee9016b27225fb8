"""From the document that people write (mappings, lists and text, as YAML or JSON gives them) to a Policy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from stitching.network import PortId
from stitching.policy import moments
from stitching.policy.document import (
    ANY,
    BETWEEN,
    PROTOCOLS,
    WITH_PORTS,
    WITHIN,
    By,
    Case,
    CaseEnd,
    Demands,
    Group,
    Policy,
    PortRange,
    Rule,
    Selector,
)
from stitching.policy.faults import Fault, PolicyError, Refused
from stitching.policy.ports import LAST_PORT, merged

MOST = 1000
"""Rules, groups, cases or zones of one policy, and items of one list."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,99}")
_RULE = frozenset(
    ("name", "from", "to", "protocol", "ports", "action", "encryption", "zones", "times", "description")
)
_CASE = frozenset(("from", "to", "protocol", "port", "at", "expect"))
_TOP = frozenset(("description", "groups", "zones", "encrypted_links", "rules", "cases"))


def read_policy(document: object) -> Policy:
    """The policy that a document says. Raises PolicyError naming every rule and field that is wrong."""
    return _Reader().read(document)


class _Reader:
    """Reads on after a fault, so that all of them are told at once."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def read(self, document: object) -> Policy:
        top = self._part("the document", lambda: _mapping(document, _TOP, "the document")) or {}
        groups = self._named(top, "groups", lambda name, item: Group(name, selectors_of(item, "members", groups=False)))
        zones = self._named(top, "zones", lambda _, item: frozenset(_dpid(one) for one in _list(item, "switches")))
        links = self._part("the document", lambda: [_port(one) for one in _list(top.get("encrypted_links", []), "encrypted_links")])
        rules = self._listed(top, "rules", _rule)
        cases = self._listed(top, "cases", lambda number, item: _case(number, item))
        policy = Policy(
            tuple(rules), MappingProxyType(groups), MappingProxyType(zones), frozenset(links or ()), tuple(cases)
        )
        self._faults += _unknown_names(policy)
        if self._faults:
            raise PolicyError(self._faults)
        return policy

    def _part(self, where: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Refused as error:
            self._faults.append(Fault(where, error.field, error.reason, error.remedy))
            return None

    def _named(self, top: Mapping[str, Any], field: str, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        items = self._part("the document", lambda: _mapping(top.get(field) or {}, None, field)) or {}
        found = {}
        for name, item in items.items():
            where = f"{field.removesuffix('s')} {name!r}"
            value = self._part(where, lambda name=name, item=item: read(_name(name, "name"), item))
            if value is not None:
                found[name] = value
        return found

    def _listed(self, top: Mapping[str, Any], field: str, read: Callable[[int, Any], Any]) -> list[Any]:
        items = self._part("the document", lambda: _list(top.get(field) or [], field)) or []
        found = []
        for number, item in enumerate(items, start=1):
            name = item.get("name") if isinstance(item, dict) else None
            where = f"{field.removesuffix('s')} {number}" + (f" ({name!r})" if isinstance(name, str) else "")
            value = self._part(where, lambda number=number, item=item: read(number, item))
            if value is not None:
                found.append(value)
        return found


def selectors_of(item: object, field: str, *, groups: bool) -> tuple[Selector, ...]:
    """The selectors of a group, or of one end of a rule: one, or a list of which any may mean the host."""
    items = item if isinstance(item, list) else [item]
    if not items:
        raise Refused(field, "it names nobody", "name a group, vnet or host, or say any")
    if len(items) > MOST:
        raise Refused(field, f"it names more than {MOST}", "use labels, virtual networks or subnets")
    return tuple(_selector(one, field, groups=groups) for one in items)


def _selector(item: object, field: str, *, groups: bool) -> Selector:
    how = "say " + ("any, the name of a group, {vnet: NAME} or {host: NAME}" if groups else
                    "{vnet: NAME}, {host: NAME}, {subnet: CIDR} or {labels: [...]}")  # fmt: skip
    if isinstance(item, str) and groups:
        return ANY if item == "any" else Selector(By.GROUP, (item,))
    if not isinstance(item, dict) or len(item) != 1:
        raise Refused(field, f"{item!r} names nobody", how)
    ((kind, value),) = item.items()
    if kind == By.LABELS and not groups:
        labels = tuple(_text(one, field) for one in (value if isinstance(value, list) else [value]))
        if not labels:
            raise Refused(field, "no labels", "name at least one, or use a virtual network")
        return Selector(By.LABELS, labels)
    if kind == By.SUBNET and not groups:
        return Selector(By.SUBNET, (_subnet(value, field),))
    if kind == By.VNET or (kind == By.GROUP and groups):
        return Selector(By(kind), (_text(value, field),))
    if kind == By.HOST:
        return Selector(By.HOST, (_host(value, field),))
    raise Refused(field, f"{kind!r} is nothing to choose hosts by here", how)


def _rule(_number: int, item: object) -> Rule:
    fields = _mapping(item, _RULE, "the rule")
    name = _name(fields.get("name"), "name")
    if name in (WITHIN, BETWEEN):
        raise Refused("name", f"{name!r} is what the default is called", "choose another name")
    allow = _one_of(fields.get("action"), ("allow", "deny"), "action") == "allow"
    protocol = protocol_of(fields.get("protocol"))
    demands = _demands(fields)
    if demands and not allow:
        raise Refused("encryption" if demands.encrypted else "zones", "a rule that denies has no path", "leave it out")
    return Rule(
        name,
        selectors_of(fields.get("from", "any"), "from", groups=True),
        selectors_of(fields.get("to", "any"), "to", groups=True),
        protocol,
        _ports(fields.get("ports"), protocol),
        allow,
        demands,
        tuple(moments.window(one) for one in _list(fields.get("times", []), "times", most=32)),
        _text(fields.get("description", " "), "description").strip(),
    )


def _demands(fields: Mapping[str, Any]) -> Demands:
    encrypted = _one_of(fields.get("encryption", "any"), ("any", "required"), "encryption") == "required"
    zones = fields.get("zones")
    if zones is None:
        return Demands(encrypted)
    names = frozenset(_text(one, "zones") for one in _list(zones, "zones"))
    if not names:
        raise Refused("zones", "no zone is allowed, so no path is", "name zones, or leave it out")
    return Demands(encrypted, names)


def _case(number: int, item: object) -> Case:
    fields = _mapping(item, _CASE, "the case")
    protocol = protocol_of(fields.get("protocol"))
    port = fields.get("port")
    if port is not None:
        ((port, _),) = _ports(port, protocol, "port") or ((None, None),)
    at = fields.get("at")
    return Case(
        number,
        _case_end(fields.get("from"), "from"),
        _case_end(fields.get("to"), "to"),
        protocol,
        port,
        None if at is None else moments.moment_s(at, "at"),
        _one_of(fields.get("expect"), ("allow", "deny"), "expect") == "allow",
    )


def _case_end(item: object, field: str) -> CaseEnd:
    how = "name a host, or say {vnet: NAME, labels: [...], ip: ADDRESS}"
    if isinstance(item, str) and item.strip():
        return CaseEnd(host=_host(item, field))
    if not isinstance(item, dict) or not item or not item.keys() <= {"vnet", "labels", "ip"}:
        raise Refused(field, f"{item!r} is no host", how)
    ip = item.get("ip")
    labels = item.get("labels", [])
    return CaseEnd(
        vnet=_text(item["vnet"], field) if "vnet" in item else None,
        labels=tuple(_text(one, field) for one in (labels if isinstance(labels, list) else [labels])),
        ip=None if ip is None else _address(ip, field),
    )


def protocol_of(value: object) -> int | None:
    """The number of a protocol from its name or number; None for any. Raises Refused."""
    if value is None or value == "any":
        return None
    if isinstance(value, str):
        if (number := PROTOCOLS.get(value.lower())) is not None:
            return number
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 4 else value
    if type(value) is not int or not 0 <= value <= 255:
        raise Refused("protocol", f"{value!r} is no protocol", f"say any, {', '.join(PROTOCOLS)}, or 0 to 255")
    return value


def _ports(value: object, protocol: int | None, field: str = "ports") -> tuple[PortRange, ...]:
    if value is None:
        return ()
    if protocol not in WITH_PORTS:
        raise Refused(field, "only TCP, UDP and SCTP have ports", "say protocol: tcp (or udp, sctp), or leave it out")
    ranges = [_range(one, field) for one in (value if isinstance(value, list) else [value])]
    if not ranges:
        raise Refused(field, "the list is empty, so it could never match", "name ports, or leave it out for all")
    if len(ranges) > MOST:
        raise Refused(field, f"more than {MOST} ranges", "join them")
    return merged(ranges)


def _range(value: object, field: str) -> PortRange:
    first, dash, last = str(value).replace(" ", "").partition("-")
    try:
        low = int(first)
        high = int(last) if dash else low
    except ValueError:
        raise Refused(field, f"{value!r} is no port", "say 443 or 8000-8099") from None
    if type(value) not in (int, str) or not 1 <= low <= LAST_PORT or not 1 <= high <= LAST_PORT:
        raise Refused(field, f"{value!r} is no port", f"ports are 1 to {LAST_PORT}")
    if low > high:
        raise Refused(field, f"{value!r} is empty", f"say {high}-{low}")
    return low, high


def _unknown_names(policy: Policy) -> Iterable[Fault]:
    """Groups and zones that are not there; names of rules that are there twice."""
    seen: set[str] = set()
    for rule in policy.rules:
        where = f"rule {rule.name!r}"
        if rule.name in seen:
            yield Fault(where, "name", "another rule has this name", "give each rule its own")
        seen.add(rule.name)
        for field, selectors in (("from", rule.source), ("to", rule.target)):
            for selector in selectors:
                if selector.by is By.GROUP and selector.value[0] not in policy.groups:
                    known = ", ".join(sorted(policy.groups)[:8]) or "none"
                    reason = f"there is no group {selector.value[0]!r}"
                    yield Fault(where, field, reason, f"add it under groups, or name one of: {known}")
        for zone in sorted((rule.demands.zones or frozenset()) - policy.zones.keys()):
            yield Fault(where, "zones", f"there is no zone {zone!r}", "add it under zones with its switches")


def _mapping(value: object, known: frozenset[str] | None, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(what, f"it is {_kind(value)} and has to be a mapping", "see the example in docs/policy.md")
    if len(value) > MOST:
        raise Refused(what, f"more than {MOST} entries", "use fewer")
    for name in value:
        if not isinstance(name, str) or (known is not None and name not in known):
            names = "" if known is None else f"; it may have {', '.join(sorted(known))}"
            raise Refused(str(name), f"there is no such field{names}", "check the spelling, or leave it out")
    return value


def _list(value: object, field: str, most: int = MOST) -> list[Any]:
    if not isinstance(value, list):
        raise Refused(field, f"it is {_kind(value)} and has to be a list", f"write {field}: [...]")
    if len(value) > most:
        raise Refused(field, f"more than {most} entries", "use fewer")
    return value


def _name(value: object, field: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Refused(field, f"{value!r} is no name", "use up to 100 letters, digits, spaces, and . _ / + -")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MOST:
        raise Refused(field, f"it is {_kind(value)} and has to be text", f"use up to {MOST} characters")
    return value


def _one_of(value: object, choices: tuple[str, ...], field: str) -> str:
    if not isinstance(value, str) or value not in choices:
        given = "it is missing" if value is None else f"it is {value!r}"
        raise Refused(field, given, f"say {' or '.join(choices)}")
    return value


def _address(value: object, field: str) -> str:
    try:
        return str(ipaddress.ip_address(_text(value, field)))
    except ValueError:
        raise Refused(field, f"{value!r} is no address", "an address looks like 10.0.0.1") from None


def _host(value: object, field: str) -> str:
    text = _text(value, field).strip().lower()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _subnet(value: object, field: str) -> str:
    try:
        return str(ipaddress.ip_network(_text(value, field)))
    except ValueError:
        raise Refused(field, f"{value!r} is no subnet", "a subnet looks like 10.1.0.0/16, without host bits") from None


def _dpid(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{16}", value):
        raise Refused("switches", f"{value!r} is no dpid", "write its 16 hex digits in quotes")
    return int(value, 16)


def _port(value: object) -> PortId:
    dpid, _, port_no = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"[0-9a-fA-F]{16}", dpid) or not re.fullmatch(r"[0-9]{1,10}", port_no):
        raise Refused("encrypted_links", f"{value!r} is no port", "write DPID:PORT, such as 0000000000000001:2")
    return int(dpid, 16), int(port_no)


def _kind(value: object) -> str:
    if isinstance(value, datetime):
        return "a date"
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "missing" if value is None else names.get(type(value), "something else")
