"""Which sites are the hubs of the star: those that pass on what others send each other."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stitching.overlay.sites import NodeLoad, Role, Site


@dataclass(frozen=True, slots=True)
class HubPolicy:
    """`count` hubs. One that was silent for `dead_s` is replaced whenever that is, and one too many goes at once.

    Every `hold_s` at most one is that lives: where its load is `margin` above that of the best other candidate, or
    a relay could be in place of a site.
    """

    count: int = 2
    margin: float = 0.3
    dead_s: float = 30.0
    hold_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Hubs:
    """The hubs, oldest first; those that were and still carry; when one was replaced last, and why."""

    now: tuple[int, ...] = ()
    retiring: tuple[int, ...] = ()
    changed_s: float = -math.inf
    why: str = ""

    @property
    def transit(self) -> tuple[int, ...]:
        """All that pass on, hubs first."""
        return (*self.now, *self.retiring)


DEFAULT_POLICY = HubPolicy()
NO_HUBS = Hubs()


def choose_hubs(
    before: Hubs,
    sites: Mapping[int, Site],
    loads: Mapping[int, NodeLoad],
    silent_since_s: Mapping[int, float],
    now_s: float,
    policy: HubPolicy,
    barred: Collection[int] = (),
) -> Hubs:
    """The hubs from now on. Relays come before sites, idle before busy, wide uplinks before narrow ones.

    Missing ones (at set-up, or when a member left) are filled at once.
    """

    def rank(serial: int) -> tuple[bool, float, float, int]:
        site = sites[serial]
        width = sum(uplink.capacity_mbps or 0.0 for uplink in site.uplinks)
        return site.role is not Role.RELAY, loads.get(serial, NodeLoad()).worst, -width, serial

    def dead(serial: int) -> bool:
        return now_s - silent_since_s.get(serial, math.inf) >= policy.dead_s

    present = tuple(serial for serial in before.now if serial in sites)
    retiring = tuple(serial for serial in before.retiring if serial in sites)
    fit = [serial for serial, site in sites.items() if site.uplinks and serial not in barred and not dead(serial)]
    others = sorted((serial for serial in fit if serial not in present), key=rank)
    missing = max(0, policy.count - len(present))
    if missing and others:
        added = others[:missing]
        kept = tuple(serial for serial in retiring if serial not in added)
        names = ", ".join(sites[serial].name for serial in added)
        # Nothing is replaced by that: as everybody joins, a relay that comes late need not wait behind a site.
        why = f"{names}: the best that {policy.count} hubs can be"
        return Hubs((*present, *added), kept, before.changed_s, why)
    if len(present) > policy.count:
        worst = max(present, key=lambda serial: (dead(serial), rank(serial)))
        now = tuple(serial for serial in present if serial != worst)
        why = f"{sites[worst].name} is one more than there are to be, which is {policy.count}"
        return Hubs(now, (*retiring, worst), before.changed_s, why)
    if others:
        best = others[0]
        worst = max(present, key=lambda serial: (dead(serial), rank(serial)))
        is_held = now_s - before.changed_s < policy.hold_s and not dead(worst)
        why = "" if is_held else _why_replaced(sites, loads, worst, best, dead(worst), policy)
        if why:
            kept = tuple(serial for serial in retiring if serial != best)
            now = (*(serial for serial in present if serial != worst), best)
            return Hubs(now, (*kept, worst), now_s, why)
    if (present, retiring) == (before.now, before.retiring):
        return before
    return Hubs(present, retiring, before.changed_s, before.why)


def _why_replaced(
    sites: Mapping[int, Site],
    loads: Mapping[int, NodeLoad],
    worst: int,
    best: int,
    dead: bool,
    policy: HubPolicy,
) -> str:
    names = f"{sites[best].name} instead of {sites[worst].name}"
    if dead:
        return f"{names}, which is silent"
    is_relay = sites[best].role is Role.RELAY
    if is_relay and sites[worst].role is not Role.RELAY:
        return f"{names}: a relay before a site"
    busy, idle = (loads.get(serial, NodeLoad()).worst for serial in (worst, best))
    if busy - idle > policy.margin and is_relay >= (sites[worst].role is Role.RELAY):
        return f"{names}, which is {busy:.0%} busy against {idle:.0%}"
    return ""
