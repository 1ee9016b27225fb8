"""Makes the routes and rules of the kernel as they are wanted (route_tables.py); no others are touched."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import TracebackType
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.kernel_changes import KernelChanges
from vte_agent.protocol.base import Prefix
from vte_agent.route_tables import (
    CLASS_PREFERENCE,
    EVERYWHERE,
    NO_WAYS,
    PREFERENCE,
    PROTOCOL,
    UPLINK_PREFERENCE,
    Action,
    Difference,
    Routes,
    Rule,
    Slot,
    Ways,
    addition,
    difference,
    is_ours,
)
from vte_agent.tunnels.ipsec_plan import GATEWAYS
from vte_agent.tunnels.ipsec_plan import KIND as IPSEC_KIND

_TYPES = {"unicast": 1, "unreachable": 7, "throw": 9}
_TYPE_NAMES = {number: name for name, number in _TYPES.items()}
_INVERT = 0x02
_ONLINK = 0x04
_LINK, _NOWHERE = 253, 255
"""Scopes: on its link; and, when a route is deleted, whatever its scope is."""
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_PREFERENCES = (UPLINK_PREFERENCE, CLASS_PREFERENCE, PREFERENCE)
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})


class RoutingFailed(RuntimeError):
    """The kernel cannot be asked at all; the message says why and what to do."""


class Router:
    """Our part of the kernel's routing in the network namespace this is made in; one thread uses it.

    What an earlier run left is known from the start and is taken over by the first `apply`. Raises RoutingFailed.
    """

    def __init__(self) -> None:
        try:
            self._changes = KernelChanges()
            self._netlink: Any = IPRoute()
        except OSError as error:
            raise RoutingFailed(f"the kernel's routing cannot be reached: {error.strerror}") from error
        self._routes: dict[Slot, Action] = {}
        self._rules: set[Rule] = set()
        self._indices: dict[str, int] = {}
        self._asking: set[str] = set()
        """Devices that want to know a link address for whatever goes into them."""
        self.refresh()

    def __enter__(self) -> Router:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the kernel; routes and rules stay."""
        self._netlink.close()
        self._changes.close()

    def refresh(self) -> None:
        """Read what is there of ours, where anything changed: routes leave when their device goes down."""
        if not self._changes.any():
            return
        self._read_links()
        names = {index: name for name, index in self._indices.items()}
        self._routes = {}
        for family in _FAMILIES.values():
            for message in self._netlink.get_routes(family=family, proto=PROTOCOL):
                if read := _read_route(message, names):
                    self._routes[read[0]] = read[1]
        self._rules = set()
        for version, family in _FAMILIES.items():
            for message in self._netlink.get_rules(family=family):
                if rule := _read_rule(message, version):
                    self._rules.add(rule)

    def _read_links(self) -> None:
        links = {link.get_attr("IFLA_IFNAME"): link for link in self._netlink.get_links()}
        self._indices = {name: link["index"] for name, link in links.items()}
        self._asking = {name for name, link in links.items() if _kind(link) == IPSEC_KIND}

    def devices(self) -> Mapping[tuple[int, Prefix], str]:
        """Which device each prefix takes in each of our tables, as last read or set."""
        return {(s.table, s.prefix): a.device for s, a in self._routes.items() if a.device is not None}

    @property
    def routes(self) -> Routes:
        """Ours, as last read or set."""
        return dict(self._routes)

    @property
    def rules(self) -> frozenset[Rule]:
        """The same of rules."""
        return frozenset(self._rules)

    def apply(self, ways: Ways) -> tuple[str, ...]:
        """Make it so, by difference; returns what could not be done, and why. May be called again and again.

        A packet under way meets the old way or the new one, or is refused; it never leaves by one that is neither.
        """
        todo = self.difference(ways)
        problems = self._make(todo)
        for rule in todo.gone_rules:
            self._try(partial(self._rule, "del", rule), f"rule to table {rule.table}", problems)
        for slot in sorted(todo.gone_routes, key=lambda slot: slot.metric):
            self._try(partial(self._delete, slot), f"route to {slot.prefix}", problems)
        return tuple(problems)

    def difference(self, ways: Ways) -> Difference:
        """What `apply` would do."""
        return difference(ways, self._routes, self._rules)

    def addition(self, ways: Ways) -> Difference:
        """What `add` would do."""
        return addition(ways, self._routes, self._rules)

    def add(self, ways: Ways) -> tuple[str, ...]:
        """Add what is not there of it, where nobody knows what else is wanted. Returns what could not be done."""
        return tuple(self._make(self.addition(ways)))

    def clear(self) -> tuple[str, ...]:
        """Take away all that is ours, also what an earlier run left; returns what could not be."""
        self.refresh()
        return self.apply(NO_WAYS)

    def _make(self, todo: Difference) -> list[str]:
        """Guards come first, then ways, then the rules that lead there; they leave the other way round."""
        problems: list[str] = []
        for slot in sorted(todo.routes, key=lambda slot: -slot.metric):
            self._try(partial(self._replace, slot, todo.routes[slot]), f"route to {slot.prefix}", problems)
        for rule in todo.rules:
            self._try(partial(self._rule, "add", rule), f"rule to table {rule.table}", problems)
        return problems

    def _try(self, change: Callable[[], object], what: str, problems: list[str]) -> None:
        try:
            change()
        except NetlinkError as error:
            problems.append(f"{what}: {error.args[1] if len(error.args) > 1 else error}")

    def _replace(self, slot: Slot, action: Action) -> None:
        words: dict[str, object] = {}
        if action.device is not None:
            words |= {"oif": self._index(action.device)} | ({"scope": _LINK} if slot.prefix.version == 4 else {})
        gateway = action.gateway
        if gateway is None and action.device in self._asking:
            gateway = GATEWAYS[slot.prefix.version]
        if gateway is not None:
            words |= {"gateway": str(gateway), "flags": _ONLINK, "scope": 0}
        if action.source is not None:
            words["prefsrc"] = str(action.source)
        try:
            self._netlink.route("replace", **_route_words(slot), type=action.kind, **words)
        except NetlinkError:
            # Its number may have been that of an earlier device of this name.
            self._indices.pop(action.device or "", None)
            raise
        self._routes[slot] = action

    def _index(self, device: str) -> int:
        if device not in self._indices:
            self._read_links()
        if device not in self._indices:
            raise NetlinkError(errno.ENODEV, f"there is no device {device}")
        return self._indices[device]

    def _delete(self, slot: Slot) -> None:
        try:
            self._netlink.route("del", **_route_words(slot), type=self._routes[slot].kind, scope=_NOWHERE)
        except NetlinkError as error:
            if error.code not in _GONE:
                raise
        del self._routes[slot]

    def _rule(self, command: str, rule: Rule) -> None:
        try:
            self._netlink.rule(command, **_rule_words(rule))
        except NetlinkError as error:
            if error.code not in ({errno.EEXIST} if command == "add" else _GONE):
                raise
        self._rules ^= {rule}


def loosen(devices: Iterable[str]) -> tuple[str, ...]:
    """Let tunnels take in what would be answered over another tunnel; returns what could not be done, and why.

    Where packets are not checked for their way back (RFC 3704) that stays so.
    """
    problems = []
    for device in devices:
        own = Path(f"/proc/sys/net/ipv4/conf/{device}/rp_filter")
        try:
            values = [int(path.read_text()) for path in (Path("/proc/sys/net/ipv4/conf/all/rp_filter"), own)]
            # The greater of the two counts, and that of the device is ours.
            if max(values) == 1:
                own.write_text("2")
        except FileNotFoundError:
            # It has gone, and its tunnel will be made anew.
            continue
        except OSError as error:
            problems.append(
                f"what comes by {device} and goes by another tunnel is dropped: {own}: {error.strerror}"
            )
    return tuple(problems)


def _rule_words(rule: Rule) -> dict[str, object]:
    words: dict[str, object] = {
        "family": _FAMILIES[rule.version],
        "table": rule.table,
        "priority": rule.preference,
        "protocol": PROTOCOL,
    }
    if rule.mask:
        words |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.source is not None:
        words |= {"src": str(rule.source.network_address), "src_len": rule.source.prefixlen}
    return words | {"flags": _INVERT} if rule.inverted else words


def _read_rule(message: Any, version: int) -> Rule | None:
    preference = message.get_attr("FRA_PRIORITY")
    if message.get_attr("FRA_PROTOCOL") != PROTOCOL or preference not in _PREFERENCES:
        return None
    source = message.get_attr("FRA_SRC")
    return Rule(
        *(version, message.get_attr("FRA_TABLE"), preference),
        *(message.get_attr("FRA_FWMARK") or 0, message.get_attr("FRA_FWMASK") or 0),
        ip_network(f"{source}/{message['src_len']}") if source else None,
        bool(message["flags"] & _INVERT),
    )


def _route_words(slot: Slot) -> dict[str, object]:
    return {
        "family": _FAMILIES[slot.prefix.version],
        "dst": str(slot.prefix),
        "table": slot.table,
        "priority": slot.metric,
        "proto": PROTOCOL,
    }


def _read_route(message: Any, names: Mapping[int, str]) -> tuple[Slot, Action] | None:
    table = message.get_attr("RTA_TABLE") or message["table"]
    kind = _TYPE_NAMES.get(message["type"])
    if not is_ours(table) or message["proto"] != PROTOCOL or kind is None:
        return None
    destination, version = message.get_attr("RTA_DST"), 4 if message["family"] == socket.AF_INET else 6
    prefix = ip_network(f"{destination}/{message['dst_len']}") if destination else EVERYWHERE[version]
    slot = Slot(table, prefix, message.get_attr("RTA_PRIORITY") or 0)
    if kind != "unicast":
        return slot, Action(kind)
    source, gateway = (
        ip_address(found) if (found := message.get_attr(name)) else None for name in ("RTA_PREFSRC", "RTA_GATEWAY")
    )
    # Those are set by the kind of the device, and not by what is wanted.
    wanted = None if gateway == GATEWAYS[version] else gateway
    return slot, Action(kind, names.get(message.get_attr("RTA_OIF")), source, wanted)


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") if info is not None else None) or ""
