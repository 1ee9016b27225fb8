"""Which links there are, from the probes that were sent and those that arrived."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ryu_apps.discovering.link_delay import DelayEstimate
from ryu_apps.discovering.probes import CLOCK_TOLERANCE_S
from stitching.network import Link, LinkKey, PortId
from stitching.overlay.link_capacity import Carried

MISSED = 3
"""Probes in a row that have to be missed before a link is gone."""

RETURN_S = 0.25
"""Time a probe is given to come back, on top of how late both switches answer and the link's own delay."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a probe that came in says: its link, whether that is new, and the links that cannot be any more."""

    key: LinkKey
    is_new: bool = False
    gone: tuple[LinkKey, ...] = ()


@dataclass(slots=True)
class _Watch:
    delay: DelayEstimate
    unanswered_s: list[float] = field(default_factory=list)
    counted_s: float = -math.inf


class LinkTable:
    """The links, and the probes over each that are still to arrive.

    A port leads to one port, and one leads to it. What is missed is counted in probes that were sent and had
    the time to return, not in seconds, so a controller that was held up takes no link for dead. Times are in
    seconds of one monotonic clock.
    """

    def __init__(self, interval_s: float, capacities: Mapping[PortId, float]) -> None:
        self.links: dict[LinkKey, Link] = {}
        self.leaving: dict[PortId, LinkKey] = {}
        self._arriving: dict[PortId, LinkKey] = {}
        self._by_switch: defaultdict[int, set[LinkKey]] = defaultdict(set)
        self._watches: dict[LinkKey, _Watch] = {}
        self._suspects: set[LinkKey] = set()
        self._answered_s: dict[PortId, float] = {}
        self._interval_s = interval_s
        self._capacities = dict(capacities)
        self._speeds: dict[PortId, float | None] = {}
        self._marked: frozenset[PortId] = frozenset()
        self._tunnelled: Mapping[PortId, PortId] = {}
        self._through_mbps: dict[LinkKey, float] = {}
        """What tunnels carry of each link through them, as it was last known."""

    def restore(self, link: Link) -> bool:
        """Believe a link that was known before a restart, unless it contradicts one that is there."""
        if link.source in self.leaving or link.target in self._arriving:
            return False
        self._add(replace(link, measured_ms=None, spread_ms=None), DelayEstimate(link.latency_ms))
        if link.capacity_mbps is not None:
            self._through_mbps.setdefault(link.key, link.capacity_mbps)
        self._refresh_capacity(link.source, keep=link.capacity_mbps)
        return True

    def arrived(self, source: PortId, target: PortId, sent_s: float) -> Arrival | None:
        """A probe sent at sent_s from source came in at target.

        None when it is not newer than the last one from this port: a copy, that says nothing.
        """
        if sent_s <= self._answered_s.get(source, -math.inf):
            return None
        self._answered_s[source] = sent_s
        key = (*source, *target)
        watch = self._watches.get(key)
        if watch is not None:
            watch.unanswered_s = [
                other_s for other_s in watch.unanswered_s if other_s > sent_s + CLOCK_TOLERANCE_S
            ]
            self._suspects.discard(key)
            return Arrival(key)
        gone: list[LinkKey] = []
        for old in (self.leaving.get(source), self._arriving.get(target)):
            if old is not None:
                # The cable was moved, so neither direction of the old link is there.
                gone += self._remove(old) + self._remove((*old[2:], *old[:2]))
        self._add(Link(key), DelayEstimate())
        self._refresh_capacity(source)
        return Arrival(key, is_new=True, gone=tuple(gone))

    def measured(
        self, key: LinkKey, flight_s: float, source_rtt_s: float | None, target_rtt_s: float | None
    ) -> bool:
        """Take in one probe's time from controller to controller. Returns whether the link's latency moved."""
        watch = self._watches.get(key)
        if watch is None or not watch.delay.add(flight_s, source_rtt_s, target_rtt_s):
            return False
        self.links[key] = self.live(key)
        return True

    def sent(self, source: PortId, sent_s: float) -> None:
        """A probe left this port, and the switch at the other end is connected to tell of it."""
        key = self.leaving.get(source)
        if key is None:
            return
        watch = self._watches[key]
        # The quick probes of a port that just came up count as one: a switch may need a moment to get its rules.
        if sent_s - watch.counted_s < 0.9 * self._interval_s:
            return
        watch.counted_s = sent_s
        # Those that decide are the oldest; the list must not grow while the verdict has to wait.
        if len(watch.unanswered_s) < MISSED:
            watch.unanswered_s.append(sent_s)
        if len(watch.unanswered_s) == MISSED:
            self._suspects.add(key)

    def overdue(self, now_s: float, lag_s: Callable[[int], float]) -> list[LinkKey]:
        """The links whose last MISSED probes all had the time to return and did not; lag_s is that of a switch."""
        return [key for key in self._suspects if self._deadline_s(key, lag_s) <= now_s]

    def _deadline_s(self, key: LinkKey, lag_s: Callable[[int], float]) -> float:
        watch = self._watches[key]
        latency_ms = watch.delay.smoothed_ms or watch.delay.held_ms or 0.0
        return watch.unanswered_s[-1] + RETURN_S + lag_s(key[0]) + lag_s(key[2]) + 2e-3 * latency_ms

    def pardon(self, dpid: int) -> None:
        """Count from zero on all links of a switch: it was away, so its probes could not be sent or seen."""
        for key in self._by_switch[dpid]:
            watch = self._watches[key]
            watch.unanswered_s.clear()
            watch.counted_s = -math.inf
            self._suspects.discard(key)

    def remove(self, key: LinkKey) -> None:
        """Take out a link."""
        self._remove(key)

    def remove_port(self, port: PortId) -> list[LinkKey]:
        """Take out both directions of the link at a port. Returns them."""
        keys = {self.leaving.get(port), self._arriving.get(port)}
        return [key for key in keys if key is not None and self._remove(key)]

    def ports_of(self, dpid: int) -> set[PortId]:
        """The ports of a switch that links name."""
        return {port for key in self._by_switch[dpid] for port in (key[:2], key[2:]) if port[0] == dpid}

    def is_fabric(self, port: PortId) -> bool:
        """Whether a link leaves or reaches this port."""
        return port in self.leaving or port in self._arriving

    def live(self, key: LinkKey) -> Link:
        """A link with its delay as estimated now."""
        link, delay = self.links[key], self._watches[key].delay
        return Link(key, link.capacity_mbps, delay.held_ms, delay.smoothed_ms, delay.spread_ms)

    def set_speed(self, port: PortId, speed_mbps: float | None) -> bool:
        """What the port itself says it carries. Returns whether a link's capacity changed."""
        self._speeds[port] = speed_mbps
        return self._refresh_capacity(port)

    def set_capacity(self, port: PortId, capacity_mbps: float) -> bool:
        """What the operator says it carries, which goes before. Returns whether a link leaves this port."""
        self._capacities[port] = capacity_mbps
        self._refresh_capacity(port)
        return port in self.leaving

    def set_encrypted(self, marks: Mapping[PortId, bool]) -> bool:
        """Mark links as encrypted, or no longer, by source port. Returns whether any mark is another now."""
        before = self._marked
        on = {port for port, encrypted in marks.items() if encrypted}
        self._marked = frozenset((before - marks.keys()) | on)
        return self._marked != before

    def set_tunnelled(self, links: Carried) -> bool:
        """Which links go through encrypted tunnels, by the ports at both ends, and what each way carries.

        Unlike a mark it counts for a link between just these ports: no site can say so of another one's. What
        a way carries stays as it was last known. Returns whether these are others, or the capacity of one is.
        """
        ways = [((*a, *b), mbps[0]) for (a, b), mbps in links.items()]
        ways += [((*b, *a), mbps[1]) for (a, b), mbps in links.items()]
        before, self._tunnelled = self._tunnelled, {key[:2]: key[2:] for key, _ in ways}
        known = {key: self._through_mbps.get(key) if mbps is None else mbps for key, mbps in ways}
        self._through_mbps = {key: mbps for key, mbps in known.items() if mbps is not None}
        ports = [port for port in {**before, **self._tunnelled} if port in self.leaving]
        others = [
            self._refresh_capacity(port, keep=self.links[self.leaving[port]].capacity_mbps) for port in ports
        ]
        return before != self._tunnelled or any(others)

    @property
    def encrypted(self) -> frozenset[PortId]:
        """The source ports of links that are encrypted: marked so, or through tunnels."""
        found = {source for source, target in self._tunnelled.items() if (*source, *target) in self.links}
        return self._marked | found if found else self._marked

    def _refresh_capacity(self, port: PortId, keep: float | None = None) -> bool:
        key = self.leaving.get(port)
        if key is None:
            return False
        through_mbps = self._through_mbps.get(key) if self._tunnelled.get(port) == key[2:] else None
        found_mbps = self._speeds.get(port, keep) if through_mbps is None else through_mbps
        capacity_mbps = self._capacities.get(port, found_mbps)
        changed = capacity_mbps != self.links[key].capacity_mbps
        if changed:
            self.links[key] = replace(self.links[key], capacity_mbps=capacity_mbps)
        return changed

    def _add(self, link: Link, delay: DelayEstimate) -> None:
        self.links[link.key] = link
        self._watches[link.key] = _Watch(delay)
        self.leaving[link.source] = self._arriving[link.target] = link.key
        self._by_switch[link.key[0]].add(link.key)
        self._by_switch[link.key[2]].add(link.key)

    def _remove(self, key: LinkKey) -> list[LinkKey]:
        if self.links.pop(key, None) is None:
            return []
        del self._watches[key], self.leaving[key[:2]], self._arriving[key[2:]]
        self._by_switch[key[0]].discard(key)
        self._by_switch[key[2]].discard(key)
        self._suspects.discard(key)
        return [key]
