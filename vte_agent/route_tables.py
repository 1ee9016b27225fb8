"""Which routes and rules the kernel shall have, as values: the tables of the agent, and what leads there.

    rule 7599   outer packets marked for uplink N, and packets from its address, look at table 7900 + N
    rule 7600   packets marked for class N look at table 7600 + N
    rule 7601   packets that are not marked BYPASS look at table 7600
    7600 + N    per prefix the device of its tunnel (metric 10) and, always, `unreachable` (metric 4000):
                a prefix that is wanted over tunnels never leaves by another way
                prefixes of the site itself are thrown back to the tables after ours
    7900 + N    the way out by that uplink, and by no other; what lies on its link is reached without the gateway,
                and prefixes of the site itself are thrown back too

All carry protocol number 76. Where a prefix is wanted for some class only, table 7600 has its `unreachable` too.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from vte_agent.marks import BYPASS, MASK, UPLINK_MASK, UPLINKS, class_mark, outer_mark
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.wanted import CLASS_NUMBERS

TABLE, UPLINK_TABLE = 7600, 7900
UPLINK_PREFERENCE, CLASS_PREFERENCE, PREFERENCE = 7599, 7600, 7601
PROTOCOL = 76
METRIC, GUARD_METRIC = 10, 4000

EVERYWHERE: Mapping[int, Prefix] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Slot:
    """What the kernel tells routes apart by."""

    table: int
    prefix: Prefix
    metric: int


@dataclass(frozen=True)
class Action:
    """What happens to a packet. source: the address that this machine's own packets get."""

    kind: str
    device: str | None = None
    source: Address | None = None
    gateway: Address | None = None


@dataclass(frozen=True)
class Rule:
    """A rule of ours. inverted: it is for packets that are not marked so."""

    version: int
    table: int
    preference: int
    mark: int = 0
    mask: int = 0
    source: Prefix | None = None
    inverted: bool = False


Routes = Mapping[Slot, Action]


@dataclass(frozen=True)
class UplinkWay:
    """A way out of the site. number: from 1, as in its mark. gateway None: the other ends are on its link.

    on_link: what is on it with a gateway too, and is not sent there. device None: there is no way by it now, and
    what is to leave by it leaves by no other.
    """

    number: int
    device: str | None
    address: Address
    gateway: Address | None = None
    on_link: tuple[Prefix, ...] = ()


@dataclass(frozen=True)
class Ways:
    """Which device each prefix takes. devices: by prefix and class; None: none is alive.

    classes: the numbers of all classes. local: the site's own prefixes. sources: addresses of this machine among
    them, for what it sends itself.
    """

    devices: Mapping[tuple[Prefix, str | None], str | None]
    classes: Mapping[str, int]
    local: tuple[Prefix, ...] = ()
    sources: tuple[Address, ...] = ()
    uplinks: tuple[UplinkWay, ...] = ()


NO_WAYS = Ways({}, {})


def routes_of(ways: Ways) -> Routes:
    """The routes that the kernel shall have."""
    routes: dict[Slot, Action] = {}
    sources = {source.version: source for source in ways.sources}
    for (prefix, class_name), device in ways.devices.items():
        table = TABLE if class_name is None else TABLE + ways.classes.get(class_name, 0)
        for guarded in {TABLE, table}:
            routes[Slot(guarded, prefix, GUARD_METRIC)] = Action("unreachable")
        # A class that nobody knows has no table: its packets go as those of none.
        if device is not None and (class_name is None or class_name in ways.classes):
            routes[Slot(table, prefix, METRIC)] = Action("unicast", device, sources.get(prefix.version))
    tables = {slot.table for slot in routes}
    wanted = {slot.prefix for slot in routes}
    for table in tables:
        # A prefix that is wanted over tunnels is not thrown back, whosever it is.
        routes |= {Slot(table, prefix, METRIC): Action("throw") for prefix in ways.local if prefix not in wanted}
    for uplink in ways.uplinks:
        version = uplink.address.version
        table, prefix = UPLINK_TABLE + uplink.number, EVERYWHERE[version]
        routes |= {Slot(table, own, METRIC): Action("throw") for own in ways.local if own.version == version}
        routes[Slot(table, prefix, GUARD_METRIC)] = Action("unreachable")
        if uplink.device is not None:
            for near in uplink.on_link:
                routes[Slot(table, near, METRIC)] = Action("unicast", uplink.device, uplink.address)
            routes[Slot(table, prefix, METRIC)] = Action("unicast", uplink.device, uplink.address, uplink.gateway)
    return routes


def rules_of(ways: Ways) -> frozenset[Rule]:
    """The rules that lead packets to those tables."""
    rules = set()
    for slot in routes_of(ways):
        version, number = slot.prefix.version, slot.table - TABLE
        if number == 0:
            rules.add(Rule(version, TABLE, PREFERENCE, BYPASS, MASK, inverted=True))
        elif number <= CLASS_NUMBERS:
            rules.add(Rule(version, slot.table, CLASS_PREFERENCE, class_mark(number), MASK))
    for uplink in ways.uplinks:
        version, table = uplink.address.version, UPLINK_TABLE + uplink.number
        rules.add(Rule(version, table, UPLINK_PREFERENCE, outer_mark(uplink.number), MASK | UPLINK_MASK))
        rules.add(Rule(version, table, UPLINK_PREFERENCE, source=ip_network(uplink.address)))
    return frozenset(rules)


@dataclass(frozen=True)
class Difference:
    """What makes the kernel's routes and rules those that are wanted: what is set or set anew, and what goes."""

    routes: Routes
    rules: frozenset[Rule]
    gone_routes: frozenset[Slot]
    gone_rules: frozenset[Rule]


def difference(ways: Ways, routes: Routes, rules: Set[Rule]) -> Difference:
    """From what there is to what is wanted."""
    wanted, leading = routes_of(ways), rules_of(ways)
    return Difference(
        {slot: action for slot, action in wanted.items() if routes.get(slot) != action},
        leading - rules,
        frozenset(routes.keys() - wanted.keys()),
        frozenset(rules - leading),
    )


def addition(ways: Ways, routes: Routes, rules: Set[Rule]) -> Difference:
    """The same where it is not known what else is wanted: what there is stays.

    The way out by an uplink changes with it, as that is known.
    """
    new = {
        slot: action
        for slot, action in routes_of(ways).items()
        if slot not in routes or (slot.table > UPLINK_TABLE and routes[slot] != action)
    }
    return Difference(new, rules_of(ways) - rules, frozenset(), frozenset())


def is_ours(table: int) -> bool:
    """Whether a table has a number that is ours."""
    return TABLE <= table <= TABLE + CLASS_NUMBERS or UPLINK_TABLE < table <= UPLINK_TABLE + UPLINKS
