"""What the agent says of its node, made from what there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from vte_agent.hands import Snapshot
from vte_agent.identity import Identity
from vte_agent.machine import Machine
from vte_agent.probing.session import Direction
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.has import (
    MOST_COUNTS,
    MOST_LINKS,
    MOST_PROBLEMS,
    MOST_ROUTES,
    MOST_TUNNELS,
    MOST_UPLINKS,
    Has,
    Quality,
    RouteReport,
    TunnelReport,
    TunnelState,
    Uplink,
)
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.upkeep import Standing

_MOST_CHARS = 300

_T = TypeVar("_T")


class Reporter:
    """Keeps the signatures it has made, and how busy the machine was when it last said."""

    def __init__(self, identity: Identity, own: Member) -> None:
        self._identity = identity
        self._own = own
        self._signed: dict[tuple[str, PublicKey], Signed] = {}
        self._machine = Machine()

    def has(
        self,
        snapshot: Snapshot,
        routes: tuple[RouteReport, ...],
        transports: tuple[Transport, ...],
        problems: tuple[str, ...] = (),
    ) -> Has:
        """The report."""
        tunnels = tuple(self._tunnel(name, there, snapshot) for name, there in sorted(snapshot.standing.items()))
        not_made = tuple(
            TunnelReport(name=name, state=TunnelState.FAILED, why=failure.why[:_MOST_CHARS])
            for name, failure in sorted(snapshot.failures.items())
            if name not in snapshot.standing
        )
        kept = {(name, there.local.public_key) for name, there in snapshot.standing.items()}
        self._signed = {key: signed for key, signed in self._signed.items() if key in kept}
        left_out: list[str] = []
        uplinks = tuple(Uplink(name=uplink.name, address=uplink.address) for uplink in snapshot.uplinks)
        return Has(
            generation=snapshot.generation,
            transports=transports,
            uplinks=_most(uplinks, MOST_UPLINKS, "uplinks", left_out),
            tunnels=_most((*tunnels, *not_made), MOST_TUNNELS, "tunnels", left_out),
            routes=_most_routes(routes, left_out),
            host=self._machine.report(snapshot.timer_late_s),
            filters=_most(snapshot.filters, MOST_COUNTS, "rules", left_out),
            bridge=snapshot.bridge,
            links=_most(snapshot.links, MOST_LINKS, "links", left_out),
            problems=tuple(
                text[:_MOST_CHARS] for text in (*left_out, *problems, *snapshot.problems)[:MOST_PROBLEMS]
            ),
        )

    def _tunnel(self, name: str, there: Standing, snapshot: Snapshot) -> TunnelReport:
        failure = snapshot.failures.get(name)
        health = snapshot.healths.get(name)
        reading = snapshot.readings.get(there.goal.spec.device)
        return TunnelReport(
            name=name,
            state=TunnelState.FAILED if failure else _state(there, health),
            why=(failure.why if failure else health.bad if health is not None else "")[:_MOST_CHARS],
            key=self._key(name, there),
            port=there.local.port,
            mtu=snapshot.mtus.get(name),
            handshake_age_s=reading.handshake_age_s if reading is not None else None,
            quality=health.window.quality() if health is not None else Quality(),
            received_bytes=reading.received_bytes if reading is not None else 0,
            sent_bytes=reading.sent_bytes if reading is not None else 0,
        )

    def _key(self, name: str, there: Standing) -> Signed | None:
        public_key = there.local.public_key
        if public_key is None:
            return None
        signed = self._signed.get((name, public_key))
        if signed is None:
            signed = self._identity.sign_tunnel_key(self._own.serial, name, public_key)
            self._signed[name, public_key] = signed
        return signed


def _state(there: Standing, health: TunnelHealth | None) -> TunnelState:
    if there.peer is None or health is None:
        return TunnelState.MAKING
    both = health.alive.heard, health.alive.hears
    if both == (Direction.ALIVE, Direction.ALIVE):
        return TunnelState.UP
    return TunnelState.MAKING if both == (Direction.UNKNOWN, Direction.UNKNOWN) else TunnelState.DOWN


def _most(all_of: Sequence[_T], most: int, what: str, left_out: list[str]) -> tuple[_T, ...]:
    """As many as a report has room for: with more of them none of it would be heard."""
    if len(all_of) > most:
        left_out.append(f"of {len(all_of)} {what} only {most} are reported")
    return tuple(all_of[:most])


def _most_routes(routes: Sequence[RouteReport], left_out: list[str]) -> tuple[RouteReport, ...]:
    every = [(route, prefix) for route in routes for prefix in route.prefixes]
    kept = groupby(_most(every, MOST_ROUTES, "routes", left_out), key=itemgetter(0))
    return tuple(route.model_copy(update={"prefixes": tuple(prefix for _, prefix in of)}) for route, of in kept)
