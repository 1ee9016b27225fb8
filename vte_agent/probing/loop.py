"""Probes all tunnels of a node in one loop: hears all that came, then judges, then sends what is due.

Long packets come last, one at a time, so that nothing by which tunnels are judged has to wait for them.

It runs in a process of its own (process.py), so that nothing else that the agent does can make it late.
"""

from __future__ import annotations

import math
import secrets
import select
import socket
import time
from collections.abc import Callable, Mapping

from vte_agent.probing.session import Direction, Need
from vte_agent.probing.sockets import ProbeFailed, cannot
from vte_agent.probing.tunnel_probes import MOST_STAMPS_PER_S, ProbedTunnel, TunnelHealth, TunnelProbes

COALESCE_S = 0.004
"""Least time between two turns. What comes meanwhile is heard together; the kernel says when it came."""

LATE_S = 0.003
"""A timer that is later than this was late; less is how timers are."""

LONG_APART_S = 0.02
"""Least time between two long packets of all tunnels: fifty of 1,440 bytes take 0.6 Mbit/s."""

_LONGEST_WAIT_S = 0.5

Told = tuple[Direction, Direction, bool]


class ProbeLoop:
    """Liveness, quality and MTU of all tunnels, both roles.

    on_change is called with the tunnels that have become alive, dead, good or bad, and has to return at once.
    on_order is called when there is something to read from `orders`, a file descriptor.
    """

    def __init__(
        self, on_change: Callable[[Mapping[str, TunnelHealth]], None], orders: int, on_order: Callable[[], None]
    ) -> None:
        self._on_change = on_change
        self._on_order = on_order
        self._orders = orders
        self._tunnels: dict[str, TunnelProbes] = {}
        self._told: dict[str, Told] = {}
        self._sources: dict[int, tuple[TunnelProbes, socket.socket]] = {}
        self._epoll = select.epoll()
        self._epoll.register(orders, select.EPOLLIN)
        self._stopping = False
        self._late_s = 0.0
        self._long_from_s = 0.0

    def run(self) -> None:
        """Probe until `stop`; then all sockets are closed."""
        due_s = time.monotonic()
        while not self._stopping:
            now_s = time.monotonic()
            events = self._epoll.poll(min(max(0.0, due_s - now_s), _LONGEST_WAIT_S))
            due_s = self._turn(events, max(0.0, time.monotonic() - due_s))
            rest_s = min(COALESCE_S, due_s - time.monotonic())
            if rest_s > 0:
                time.sleep(rest_s)
        for name in tuple(self._tunnels):
            self.remove(name)
        self._epoll.close()

    def stop(self) -> None:
        """End after this turn."""
        self._stopping = True

    def add(self, tunnel: ProbedTunnel) -> str:
        """Probe a tunnel from now on, in place of one of the same name; returns why it cannot be, or ""."""
        self.remove(tunnel.name)
        try:
            # Random, so that a probe to an earlier run of this agent is not taken for one to this.
            probes = TunnelProbes(tunnel, 1 + secrets.randbelow((1 << 32) - 1), time.monotonic())
        except ProbeFailed as error:
            return str(error)
        self._tunnels[tunnel.name] = probes
        self._match_siblings()
        for source in probes.readers:
            try:
                self._epoll.register(source, select.EPOLLIN)
            except OSError as error:
                self.remove(tunnel.name)
                return cannot(f"hear {tunnel.peer_address} through {tunnel.device}", error)
            self._sources[source.fileno()] = probes, source
        return ""

    def remove(self, name: str) -> None:
        """Probe a tunnel no more; nothing happens where there is none of the name."""
        self._told.pop(name, None)
        if (probes := self._tunnels.pop(name, None)) is None:
            return
        for source in probes.readers:
            if self._sources.pop(source.fileno(), None) is not None:
                self._epoll.unregister(source)
        probes.close()
        self._match_siblings()
        self._pace()

    def need(self, needs: Mapping[str, Need]) -> None:
        """What tunnels are needed for from now on; those that are not named stay as they are."""
        now_s = time.monotonic()
        for name, need in needs.items():
            if probes := self._tunnels.get(name):
                probes.need(need, now_s)
        self._pace()

    def search_mtu(self, most: Mapping[str, int]) -> None:
        """How long packets may be is to be found, up to these bytes, by tunnel; others stay as they are."""
        now_s = time.monotonic()
        for name, size in most.items():
            if probes := self._tunnels.get(name):
                probes.mtu.search(size, now_s)

    def health(self) -> dict[str, TunnelHealth]:
        """All tunnels as they are now, by name."""
        now_s = time.monotonic()
        return {name: probes.health(now_s) for name, probes in self._tunnels.items()}

    def take_worst_late_s(self) -> float:
        """How late the timer was at worst since last asked."""
        worst_s, self._late_s = self._late_s, 0.0
        return worst_s

    def _turn(self, events: list[tuple[int, int]], late_s: float) -> float:
        """One turn; returns when the next is due at the latest."""
        self._late_s = max(self._late_s, late_s)
        self._hear(events)
        # Between two looks at the sockets more may have come, and nobody is judged before all of it was heard.
        self._hear(self._epoll.poll(0))
        now_s = time.monotonic()
        was_late = late_s > LATE_S
        next_s = now_s + _LONGEST_WAIT_S
        changed = []
        long: TunnelProbes | None = None
        for name, probes in self._tunnels.items():
            if probes.next_s <= now_s or was_late:
                probes.judge(now_s, late_s if was_late else 0.0)
                probes.send_due(now_s)
                alive = probes.session.alive(now_s)
                told = alive.heard, alive.hears, bool(probes.bad)
                if told != self._told.get(name):
                    self._told[name] = told
                    changed.append(name)
                    carries = alive.heard is alive.hears is Direction.ALIVE
                    probes.mtu.alive(carries, now_s, alive.rtt_s or 0.0)
            if long is None or probes.mtu.due_s < long.mtu.due_s:
                long = probes
            next_s = min(next_s, probes.next_s)
        if changed:
            self._pace()
            self._on_change({name: self._tunnels[name].health(now_s) for name in changed})
        return min(next_s, self._send_long(long, now_s))

    def _send_long(self, first: TunnelProbes | None, now_s: float) -> float:
        """Send a long packet, if one is due; returns when to ask again. first: who wants to soonest."""
        if first is None or first.mtu.due_s == math.inf:
            return math.inf
        if first.mtu.due_s <= now_s and self._long_from_s <= now_s:
            first.mtu.send(now_s, first.session.alive(now_s).rtt_s or 0.0)
            self._long_from_s = now_s + LONG_APART_S
            return self._long_from_s
        return max(first.mtu.due_s, self._long_from_s)

    def _hear(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd == self._orders:
                self._on_order()
            elif source := self._sources.get(fd):
                source[0].read(source[1])

    def _pace(self) -> None:
        """Share what may be sent to measure quality among the tunnels that are well."""
        times = max(1.0, sum(probes.stamps_per_s for probes in self._tunnels.values()) / MOST_STAMPS_PER_S)
        for probes in self._tunnels.values():
            probes.pace(times)

    def _match_siblings(self) -> None:
        by_peer: dict[int, list[TunnelProbes]] = {}
        for probes in self._tunnels.values():
            by_peer.setdefault(probes.tunnel.peer, []).append(probes)
        for probes in self._tunnels.values():
            probes.siblings = by_peer[probes.tunnel.peer]
