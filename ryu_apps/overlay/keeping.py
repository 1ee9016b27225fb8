"""What of the overlay is stored: enough for no address and no generation to be given twice after a restart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_network
from types import MappingProxyType

from ryu_apps.store.codec import dump
from stitching.overlay.direct import Direct
from stitching.overlay.hubs import Hubs
from stitching.overlay.links import LinkBook
from stitching.overlay.mesh import Mesh
from stitching.overlay.prefix_sets import EMPTY, PrefixSet, PrefixTable, Span
from stitching.overlay.rounds import Overlay
from stitching.overlay.site_plan import RouteGroup, SitePlan
from stitching.overlay.sites import Prefix
from stitching.overlay.tunnels import Line, LineState, TunnelBook, TunnelSpec


@dataclass(frozen=True)
class KeptLine:
    """A line that is wanted, and its versions."""

    line: Line
    state: LineState
    wanted: TunnelSpec | None


@dataclass(frozen=True)
class KeptRoute:
    """A group of routes, which is for the prefixes in these spans of a table."""

    class_name: str | None
    tunnels: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class KeptPlan:
    """A plan that a site may be carrying out: without its routes, and these by the number of their table."""

    generation: int
    plan: SitePlan
    table: int
    routes: tuple[KeptRoute, ...]


@dataclass(frozen=True)
class KeptHubs:
    """The hubs; changed_s None: never."""

    now: tuple[int, ...] = ()
    retiring: tuple[int, ...] = ()
    changed_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class KeptOverlay:
    """All of it, in an order of its own. direct: pairs with tunnels of their own, why, and since when.

    tables: the prefixes that plans name; of a thousand sites each has a route to all the others.
    """

    generation: int
    overlay_range: str
    next_slot: int
    hubs: KeptHubs
    lines: tuple[KeptLine, ...]
    tables: tuple[tuple[Prefix, ...], ...]
    plans: tuple[KeptPlan, ...]
    direct: tuple[tuple[int, int, str, float], ...] = field(default=())
    links: LinkBook = field(default_factory=LinkBook)


class Writing:
    """Overlays as they are stored, one after the other: lines and plans that stay are not written again.

    Of a thousand sites the whole is two megabytes, and mostly the plans of two or three of them are others.
    """

    def __init__(self) -> None:
        self._lines: dict[Line, tuple[LineState, TunnelSpec | None, str]] = {}
        self._plans: dict[tuple[int, int], tuple[SitePlan, int, str]] = {}

    def text(self, overlay: Overlay) -> str:
        """What is stored of an overlay: a `KeptOverlay`."""
        hubs, direct = overlay.mesh.hubs, overlay.mesh.direct
        numbers: dict[PrefixTable, int] = {}
        plans = self._plan_texts(overlay, numbers)
        kept = KeptOverlay(
            overlay.generation,
            str(overlay.book.overlay_range),
            overlay.book.next_slot,
            KeptHubs(hubs.now, hubs.retiring, hubs.changed_s if hubs.changed_s > -math.inf else None, hubs.why),
            (),
            tuple(table.prefixes for table in numbers),
            (),
            tuple((*pair, why, direct.changed_s.get(pair, 0.0)) for pair, why in direct.pairs.items()),
            overlay.links,
        )
        texts = {one.name: dump(getattr(kept, one.name)) for one in fields(kept)}
        texts["lines"], texts["plans"] = f"[{','.join(self._line_texts(overlay))}]", f"[{','.join(plans)}]"
        return f"{{{','.join(f'{dump(name)}:{text}' for name, text in texts.items())}}}"

    def _line_texts(self, overlay: Overlay) -> list[str]:
        before, self._lines = self._lines, {}
        states = {**dict.fromkeys(overlay.mesh.lines, LineState()), **overlay.book.lines}
        for line, state in sorted(states.items(), key=_line):
            wanted, known = overlay.mesh.lines.get(line), before.get(line)
            if known is None or known[:2] != (state, wanted):
                known = state, wanted, dump(KeptLine(line, state, wanted))
            self._lines[line] = known
        return [text for _, _, text in self._lines.values()]

    def _plan_texts(self, overlay: Overlay, numbers: dict[PrefixTable, int]) -> list[str]:
        before, self._plans = self._plans, {}
        for serial, sent in overlay.in_force.items():
            for generation, plan in sent:
                table = plan.routes[0].behind.table if plan.routes else EMPTY
                number = numbers.setdefault(table, len(numbers))
                known = before.get((serial, generation))
                if known is None or known[0] is not plan or known[1] != number:
                    known = plan, number, dump(_kept_plan(generation, plan, number))
                self._plans[serial, generation] = known
        return [text for _, _, text in self._plans.values()]


def restored(stored: KeptOverlay, now_s: float = math.inf) -> Overlay:
    """The overlay as it was, but for what is found out again: choices, and who asks for what since when.

    What was stored with a later time than now, as the clock was ahead then, is of now.
    """
    hubs = stored.hubs
    in_force: dict[int, tuple[tuple[int, SitePlan], ...]] = {}
    tables = [PrefixTable(prefixes) for prefixes in stored.tables]
    for one in stored.plans:
        serial = one.plan.serial
        in_force[serial] = (*in_force.get(serial, ()), (one.generation, _plan(one, tables)))
    mesh = Mesh(
        Hubs(hubs.now, hubs.retiring, min(_or_never(hubs.changed_s), now_s), hubs.why),
        Direct(
            MappingProxyType({(a, b): why for a, b, why, _ in stored.direct}),
            changed_s=MappingProxyType({(a, b): min(at_s, now_s) for a, b, _, at_s in stored.direct}),
        ),
        MappingProxyType({one.line: one.wanted for one in stored.lines if one.wanted is not None}),
    )
    book = TunnelBook(
        MappingProxyType({one.line: _not_after(one.state, now_s) for one in stored.lines if one.state.tunnels}),
        stored.next_slot,
        ip_network(stored.overlay_range),
    )
    return Overlay(stored.generation, mesh, book, links=stored.links, in_force=MappingProxyType(in_force))


def _kept_plan(generation: int, plan: SitePlan, number: int) -> KeptPlan:
    routes = tuple(KeptRoute(group.class_name, group.tunnels, group.behind.spans) for group in plan.routes)
    return KeptPlan(generation, replace(plan, routes=()), number, routes)


def _plan(kept_plan: KeptPlan, tables: Sequence[PrefixTable]) -> SitePlan:
    table = tables[kept_plan.table]
    routes = (RouteGroup(one.class_name, one.tunnels, PrefixSet.of(table, one.spans)) for one in kept_plan.routes)
    return replace(kept_plan.plan, routes=tuple(routes))


def _or_never(at_s: float | None) -> float:
    return -math.inf if at_s is None else at_s


def _not_after(state: LineState, now_s: float) -> LineState:
    tunnels = tuple(
        replace(one, made_at_s=min(one.made_at_s, now_s), since_s=min(one.since_s, now_s)) for one in state.tunnels
    )
    return replace(state, tunnels=tunnels, retry_at_s=min(state.retry_at_s, now_s))


def _line(item: tuple[Line, LineState]) -> Line:
    return item[0]
