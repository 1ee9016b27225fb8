"""What an agent would change on its node if it ran now, by the differences that it acts by. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vte_agent.believing import Believed, Standing
from vte_agent.bridging.difference import LinkDevice, Make, Place, Plug, PlugIn, PullOut, Remove, steps
from vte_agent.failover import Failover
from vte_agent.goals import Wished
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.wanted import CLASS_NUMBERS, WantedLink
from vte_agent.route_tables import TABLE, UPLINK_TABLE, Action, Difference, Routes, Rule, Slot, Ways
from vte_agent.steering import Steered, found_ways, known_ways, ways_of
from vte_agent.tunnels.devices import device_name


class Do(StrEnum):
    """What is to happen. WAIT: nothing, until a tunnel answers."""

    MAKE = "make"
    CHANGE = "change"
    REMOVE = "remove"
    KEEP = "keep"
    WAIT = "wait"


@dataclass(frozen=True)
class Change:
    """What is to happen to one thing. kind: tunnel, link, port, route, rule or table; `of`: whose it is."""

    do: Do
    kind: str
    name: str
    of: str = ""
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """The changes; generation of the wanted state that they are for (0: there is none); what stands in the way."""

    generation: int
    standing: Standing
    changes: tuple[Change, ...]
    problems: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing would change."""
        return not self.todo

    @property
    def todo(self) -> tuple[Change, ...]:
        """What would change."""
        return tuple(change for change in self.changes if change.do not in (Do.KEEP, Do.WAIT))

    @property
    def waiting(self) -> tuple[Change, ...]:
        """What an agent cannot do yet: it would change nothing."""
        return tuple(change for change in self.changes if change.do is Do.WAIT)


def planned_tunnels(believed: Believed, wished: Wished, found: Sequence[str], node: str) -> Iterator[Change]:
    """What would happen to the devices of tunnels of a node (its serial); `found` are those that there are."""
    for goal in wished.goals.values():
        device, by = goal.spec.device, f"{goal.transport.value} from {goal.spec.local}"
        why = f"{by} to serial {goal.serial}" + ("" if goal.peer is not None else ", whose key has not come yet")
        yield Change(Do.KEEP if device in found else Do.MAKE, "tunnel", device, goal.spec.name, why)
    wanted = {goal.spec.device for goal in wished.goals.values()}
    banned = {device_name(name, node): name for name in believed.banned}
    for device in sorted(set(found) - wanted):
        if device in banned:
            yield Change(Do.REMOVE, "tunnel", device, banned[device], "whom it leads to is revoked")
        else:
            yield _surplus(believed, "tunnel", device, "")


def planned_links(
    believed: Believed,
    place: Place | None,
    devices: Mapping[str, LinkDevice],
    plugs: Mapping[str, Plug],
    name_of: Callable[[WantedLink], str],
) -> Iterator[Change]:
    """What would happen to links of the bridge and its ports."""
    if not believed.names_all:
        for device, there in devices.items():
            yield _surplus(believed, "link", device, there.name)
        return
    links = believed.wanted.links if believed.is_known and believed.wanted is not None else ()
    links = () if believed.standing is Standing.OUT else links
    touched = set()
    for step in steps(links, place, devices, plugs, name_of):
        match step:
            case Make(link, device):
                why = f"VXLAN {link.vni} from {link.local} to {link.remote}"
                change = Change(Do.CHANGE if device in devices else Do.MAKE, "link", device, link.name, why)
            case PlugIn(link, device):
                change = Change(Do.MAKE, "port", device, link.name, f"of bridge {place.bridge if place else ''}")
            case PullOut(device, name, at):
                change = Change(Do.REMOVE, "port", device, name, f"of bridge {at.bridge}")
            case Remove(there):
                change = Change(Do.REMOVE, "link", there.device, there.name, "nobody wants it so")
        touched.add(change.name)
        yield change
    for device, there in devices.items():
        if device not in touched:
            yield Change(Do.KEEP, "link", device, there.name, f"from {there.local} to {there.remote}")


def planned_ways(steered: Steered, found: Mapping[tuple[int, Prefix], str]) -> Ways:
    """Where packets would go at first, while no tunnel has been probed: routes that there are stay."""
    wanted = {prefix for route in steered.routes for prefix in route.prefixes}
    unwanted = steered.guarded - wanted - set(steered.local)
    if not steered.is_known:
        return known_ways(unwanted, steered)
    failover = Failover(found_ways(found, steered))
    failover.want(steered.routes)
    return ways_of(failover.taken(), unwanted, steered)


def planned_routes(todo: Difference, there: Routes, rules: frozenset[Rule], steered: Steered) -> Iterator[Change]:
    """What would happen to routes and rules, and which routes wait for the first answer of a tunnel."""
    names = {TABLE + number: name for name, number in steered.classes.items()}
    for slot, action in todo.routes.items():
        do = Do.CHANGE if slot in there else Do.MAKE
        yield Change(do, "route", f"{slot.prefix}", _table(slot.table, names), _way(action))
    for slot in sorted(todo.gone_routes, key=_order):
        yield Change(Do.REMOVE, "route", f"{slot.prefix}", _table(slot.table, names), "nobody wants it")
    for what, ones in ((Do.MAKE, todo.rules), (Do.REMOVE, todo.gone_rules)):
        for rule in sorted(ones, key=lambda one: (one.preference, one.table, one.version)):
            yield Change(what, "rule", f"{rule.preference}", _table(rule.table, names), _packets(rule))
    kept = len(there.keys() - todo.routes.keys() - todo.gone_routes), len(rules - todo.gone_rules)
    for number, kind in zip(kept, ("route", "rule"), strict=True):
        if number:
            yield Change(Do.KEEP, kind, f"{number} of them")


def waiting_routes(steered: Steered, found: Mapping[tuple[int, Prefix], str]) -> Iterator[Change]:
    """Routes that are wanted and take no tunnel yet."""
    taken = found_ways(found, steered)
    for route in steered.routes:
        for prefix in route.prefixes:
            if (prefix, route.class_name) not in taken:
                why = f"by the first of {', '.join(route.tunnels)} that answers; nowhere until then"
                of = f"class {route.class_name}" if route.class_name is not None else "all packets"
                yield Change(Do.WAIT, "route", f"{prefix}", of, why)


def planned_table(name: str, what: str, now: str | None, wanted: str | None) -> Change | None:
    """What would happen to a table of nftables, by what the kernel lists of it and would list."""
    if wanted is None or now is None:
        if wanted is now:
            return None
        lines = len((now or wanted or "").splitlines())
        return Change(Do.MAKE if now is None else Do.REMOVE, "table", name, what, f"{lines} lines")
    if now == wanted:
        return Change(Do.KEEP, "table", name, what, "as it is to be")
    compared = [one[0] for one in difflib.ndiff(now.splitlines(), wanted.splitlines())]
    return Change(Do.CHANGE, "table", name, what, f"{compared.count('+')} lines come, {compared.count('-')} go")


def _surplus(believed: Believed, kind: str, device: str, of: str) -> Change:
    if believed.names_all:
        return Change(Do.REMOVE, kind, device, of, "nobody wants it")
    return Change(Do.KEEP, kind, device, of, "stays until it is known what is wanted")


def _table(number: int, names: Mapping[int, str]) -> str:
    if number == TABLE:
        return "all packets"
    if number in names:
        return f"class {names[number]}"
    return f"class {number - TABLE}" if number <= TABLE + CLASS_NUMBERS else f"uplink {number - UPLINK_TABLE}"


def _way(action: Action) -> str:
    if action.kind == "unicast":
        return f"by {action.device}" + (f" and {action.gateway}" if action.gateway is not None else "")
    return "by nothing else" if action.kind == "unreachable" else "as the machine's own tables say"


def _packets(rule: Rule) -> str:
    if rule.source is not None:
        return f"IPv{rule.version} from {rule.source}"
    return f"IPv{rule.version} {'not ' if rule.inverted else ''}marked {rule.mark:#x}/{rule.mask:#x}"


def _order(slot: Slot) -> tuple[int, str, int]:
    return slot.table, f"{slot.prefix}", slot.metric
