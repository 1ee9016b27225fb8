"""On which ports BFD has to run, and what to change so that it does.

A link whose one end has BFD looks dead to that end, so both get it or neither. While a session comes up (about a
second) its ports are not live to a fast-failover group: never two of a switch at once. A session that does not
come up is taken back, and a link that died keeps its BFD, or a group would take the dead link for a live one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ryu_apps.ovsdb.changes import BFD_MARK, SetBfd, bfd_settings
from ryu_apps.ovsdb.view import PortView
from stitching.network import LinkKey, Network, PortId, reverse

BFD_MS = 20
"""The default interval: three packets missed, 60 ms, are a dead link.

Sessions of 15 ms were seen to flap on busy cores.
"""

COME_UP_S = 10.0
"""A session that is not up by then, on a link that probes cross, is given up."""

RETRY_S = 60.0
FORGET_S = 600.0
"""A port without a link for so long is no fabric port any more."""


@dataclass(frozen=True, slots=True)
class Session:
    """BFD on one port. ours: as a controller left it; foreign: somebody else's, or what somebody changed."""

    settings: Mapping[str, str]
    ours: bool
    foreign: bool
    up: bool
    interval_ms: int | None


def session_of(port: PortView) -> Session:
    """What a port says of its BFD."""
    mark = port.external_ids.get(BFD_MARK)
    interval_ms = int(mark) if mark is not None and mark.isdecimal() and len(mark) < 6 else None
    ours = interval_ms is not None and dict(port.bfd) == bfd_settings(interval_ms)
    up = port.bfd.get("enable") == "true" and port.bfd_status.get("state") == "up"
    return Session(port.bfd, ours, not ours and (bool(port.bfd) or mark is not None), up, interval_ms)


@dataclass(frozen=True)
class Step:
    """What to do now. changes are by the port they are for; given_up are links whose sessions did not come up."""

    changes: Mapping[PortId, SetBfd] = field(default_factory=lambda: MappingProxyType({}))
    given_up: tuple[LinkKey, ...] = ()


class BfdKeeper:
    """Keeps BFD on the fabric's links. Times are in seconds of one monotonic clock. Raises ValueError."""

    def __init__(self, interval_ms: int) -> None:
        if not 1 <= interval_ms <= 10_000:
            raise ValueError(f"a BFD interval of {interval_ms} ms is not within 1 to 10000")
        self._interval_ms = interval_ms
        self._coming_up: dict[LinkKey, float] = {}
        self._down_since_s: dict[LinkKey, float] = {}
        self._given_up_s: dict[LinkKey, float] = {}
        self._without_link_s: dict[PortId, float] = {}

    def step(self, network: Network, ports: Mapping[PortId, PortView], now_s: float) -> Step:
        """What to change, given the fabric and all ports of the servers that answer."""
        sessions = {port_id: session_of(port) for port_id, port in ports.items()}
        links = sorted(_cables(network))
        self._forget(set(links))
        changes: dict[PortId, int | None] = {}
        given_up = [key for key in links if self._is_hopeless(key, sessions, now_s)]
        for key in given_up:
            self._given_up_s[key] = now_s
            self._coming_up.pop(key, None)
            self._down_since_s.pop(key, None)
            changes.update((end, None) for end in _ends(key) if end in sessions and sessions[end].ours)
        for key in self._startable(links, sessions, now_s):
            self._coming_up[key] = now_s
            changes.update((end, self._interval_ms) for end in _ends(key))
        changes.update((port_id, None) for port_id in self._stale(network, sessions, now_s))
        return Step(
            MappingProxyType(
                {
                    end: SetBfd(ports[end].interface_uuid, wanted, sessions[end].settings)
                    for end, wanted in changes.items()
                }
            ),
            tuple(given_up),
        )

    def _forget(self, links: set[LinkKey]) -> None:
        for table in (self._coming_up, self._down_since_s, self._given_up_s):
            for key in table.keys() - links:
                del table[key]

    def _is_hopeless(self, key: LinkKey, sessions: Mapping[PortId, Session], now_s: float) -> bool:
        """Whether an end of ours is not up though probes cross, and has not been for too long."""
        known = [sessions[end] for end in _ends(key) if end in sessions]
        if not any(session.ours and not session.up for session in known):
            self._down_since_s.pop(key, None)
            if all(session.up for session in known) and len(known) == len(_ends(key)):
                self._coming_up.pop(key, None)
            return False
        since_s = self._down_since_s.setdefault(key, now_s)
        return now_s - since_s > COME_UP_S

    def _startable(
        self, links: Iterable[LinkKey], sessions: Mapping[PortId, Session], now_s: float
    ) -> Iterator[LinkKey]:
        """Links to turn BFD on for now: no two of them, nor one that is coming up, at the same switch."""
        for key, since_s in list(self._coming_up.items()):
            if now_s - since_s > COME_UP_S:
                del self._coming_up[key]  # the change did not get through; it is its turn again
        busy = {end[0] for key in self._coming_up for end in _ends(key)}
        for key in links:
            ends = _ends(key)
            if busy & {end[0] for end in ends} or now_s - self._given_up_s.get(key, -math.inf) < RETRY_S:
                continue
            if all(end in sessions and not sessions[end].foreign for end in ends) and not all(
                sessions[end].ours and sessions[end].interval_ms == self._interval_ms for end in ends
            ):
                busy |= {end[0] for end in ends}
                yield key

    def _stale(self, network: Network, sessions: Mapping[PortId, Session], now_s: float) -> list[PortId]:
        """Ports with BFD of ours that lead to a host, or have led to no switch for long."""
        with_hosts = {host.port for host in network.hosts.values()}
        stale = []
        for port_id, session in sessions.items():
            if not session.ours or port_id in network.fabric_ports:
                self._without_link_s.pop(port_id, None)
            elif port_id in with_hosts or now_s - self._without_link_s.setdefault(port_id, now_s) > FORGET_S:
                self._without_link_s.pop(port_id, None)
                stale.append(port_id)
        for port_id in self._without_link_s.keys() - sessions.keys():
            del self._without_link_s[port_id]
        return stale


def _cables(network: Network) -> Iterator[LinkKey]:
    """Links that probes cross both ways, each once."""
    for key in network.links:
        if key[:2] < key[2:] and key[0] != key[2] and reverse(key) in network.links:
            yield key


def _ends(key: LinkKey) -> tuple[PortId, PortId]:
    return key[:2], key[2:]
