"""From the document that people write (mappings, lists and text, as YAML or JSON gives them) to a Policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from stitching.policy import moments
from stitching.policy.document import (
    ANY,
    BETWEEN,
    WITHIN,
    By,
    Case,
    CaseEnd,
    Demands,
    Group,
    Policy,
    Rule,
    Selector,
)
from stitching.policy.faults import Fault, PolicyError, Refused
from stitching.policy.fields import (
    MOST,
    address_in,
    dpid_in,
    host_in,
    listed,
    mapping,
    name_in,
    one_of,
    port_in,
    ports_in,
    protocol_of,
    subnet_in,
    text_in,
)

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
        top = self._part("the document", lambda: mapping(document, _TOP, "the document")) or {}
        groups = self._named(
            top, "groups", lambda name, item: Group(name, selectors_of(item, "members", groups=False))
        )
        zones = self._named(
            top, "zones", lambda _, item: frozenset(dpid_in(one) for one in listed(item, "switches"))
        )
        links = self._part(
            "the document",
            lambda: [port_in(one) for one in listed(top.get("encrypted_links", []), "encrypted_links")],
        )
        rules = self._all_of(top, "rules", _rule)
        cases = self._all_of(top, "cases", lambda number, item: _case(number, item))
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
        items = self._part("the document", lambda: mapping(top.get(field) or {}, None, field)) or {}
        found = {}
        for name, item in items.items():
            where = f"{field.removesuffix('s')} {name!r}"
            value = self._part(where, partial(_read_named, read, name, item))
            if value is not None:
                found[name] = value
        return found

    def _all_of(self, top: Mapping[str, Any], field: str, read: Callable[[int, Any], Any]) -> list[Any]:
        items = self._part("the document", lambda: listed(top.get(field) or [], field)) or []
        found = []
        for number, item in enumerate(items, start=1):
            name = item.get("name") if isinstance(item, dict) else None
            where = f"{field.removesuffix('s')} {number}" + (f" ({name!r})" if isinstance(name, str) else "")
            value = self._part(where, partial(read, number, item))
            if value is not None:
                found.append(value)
        return found


def _read_named(read: Callable[[str, Any], Any], name: object, item: object) -> Any:
    return read(name_in(name, "name"), item)


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
        labels = tuple(text_in(one, field) for one in (value if isinstance(value, list) else [value]))
        if not labels:
            raise Refused(field, "no labels", "name at least one, or use a virtual network")
        return Selector(By.LABELS, labels)
    if kind == By.SUBNET and not groups:
        return Selector(By.SUBNET, (subnet_in(value, field),))
    if kind == By.VNET or (kind == By.GROUP and groups):
        return Selector(By(kind), (text_in(value, field),))
    if kind == By.HOST:
        return Selector(By.HOST, (host_in(value, field),))
    raise Refused(field, f"{kind!r} is nothing to choose hosts by here", how)


def _rule(_number: int, item: object) -> Rule:
    fields = mapping(item, _RULE, "the rule")
    name = name_in(fields.get("name"), "name")
    if name in (WITHIN, BETWEEN):
        raise Refused("name", f"{name!r} is what the default is called", "choose another name")
    allow = one_of(fields.get("action"), ("allow", "deny"), "action") == "allow"
    protocol = protocol_of(fields.get("protocol"))
    demands = _demands(fields)
    if demands and not allow:
        raise Refused(
            "encryption" if demands.encrypted else "zones", "a rule that denies has no path", "leave it out"
        )
    return Rule(
        name,
        selectors_of(fields.get("from", "any"), "from", groups=True),
        selectors_of(fields.get("to", "any"), "to", groups=True),
        protocol,
        ports_in(fields.get("ports"), protocol),
        allow,
        demands,
        tuple(moments.window(one) for one in listed(fields.get("times", []), "times", most=32)),
        text_in(fields.get("description", " "), "description").strip(),
    )


def _demands(fields: Mapping[str, Any]) -> Demands:
    encrypted = one_of(fields.get("encryption", "any"), ("any", "required"), "encryption") == "required"
    zones = fields.get("zones")
    if zones is None:
        return Demands(encrypted)
    names = frozenset(text_in(one, "zones") for one in listed(zones, "zones"))
    if not names:
        raise Refused("zones", "no zone is allowed, so no path is", "name zones, or leave it out")
    return Demands(encrypted, names)


def _case(number: int, item: object) -> Case:
    fields = mapping(item, _CASE, "the case")
    protocol = protocol_of(fields.get("protocol"))
    port = fields.get("port")
    if port is not None:
        ((port, _),) = ports_in(port, protocol, "port") or ((None, None),)
    at = fields.get("at")
    return Case(
        number,
        _case_end(fields.get("from"), "from"),
        _case_end(fields.get("to"), "to"),
        protocol,
        port,
        None if at is None else moments.moment_s(at, "at"),
        one_of(fields.get("expect"), ("allow", "deny"), "expect") == "allow",
    )


def _case_end(item: object, field: str) -> CaseEnd:
    how = "name a host, or say {vnet: NAME, labels: [...], ip: ADDRESS}"
    if isinstance(item, str) and item.strip():
        return CaseEnd(host=host_in(item, field))
    if not isinstance(item, dict) or not item or not item.keys() <= {"vnet", "labels", "ip"}:
        raise Refused(field, f"{item!r} is no host", how)
    ip = item.get("ip")
    labels = item.get("labels", [])
    return CaseEnd(
        vnet=text_in(item["vnet"], field) if "vnet" in item else None,
        labels=tuple(text_in(one, field) for one in (labels if isinstance(labels, list) else [labels])),
        ip=None if ip is None else address_in(ip, field),
    )


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
