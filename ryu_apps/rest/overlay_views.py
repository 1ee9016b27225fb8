"""What the API says of the overlay: its sites, its tunnels, and the ways between sites with their scores."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from ryu_apps.events.overlay import OverlayAnswer
from ryu_apps.rest.views import moment
from stitching.overlay.choosing import Choice
from stitching.overlay.replacing import UP
from stitching.overlay.scoring import ScoredWay
from stitching.overlay.sites import Site, Uplink
from stitching.overlay.tunnels import Tunnel
from vte_agent.protocol.has import Has, TunnelReport

_NAMED = 10


class OverlayView(BaseModel):
    """The overlay as a whole."""

    epoch: int = Field(description="Of the roll that the signer has signed last; 0: it has not answered yet.")
    listening: bool = Field(description="Whether sites are listened for: not before the signer has answered.")
    sites: int
    connected: list[str] = Field(description="Sites whose agents are on the control channel, by name.")
    tunnels: int
    tunnels_up: int = Field(description="Those that both ends call up, or did when last heard of.")
    tunnels_unheard: int = Field(description="Those of which no end is on the control channel now.")
    problems: list[str]


class SiteUplinkView(BaseModel):
    """A way out of a site."""

    name: str
    address: str
    callable: bool = Field(description="Whether others can call it; behind a NAT they cannot.")
    capacity_mbps: float | None = Field(description="What it carries each way; null: nobody has said.")
    price: float = Field(description="Of a gigabyte over it, in whatever money.")


class SiteView(BaseModel):
    """A site (or a relay, which has no prefixes), as the signer let it in and as it has said last."""

    name: str
    serial: int
    role: str
    prefixes: list[str]
    labels: dict[str, str]
    connected: bool
    generation_told: int | None = Field(description="Of what it was sent last; null: nothing since the start.")
    generation_done: int | None = Field(description="Of what it says it carries out; null: it said nothing yet.")
    uplinks: list[SiteUplinkView]
    transports: list[str]
    tunnels: int
    tunnels_up: int
    cpu: float | None = Field(description="How busy its machine is, from 0 to 1.")
    memory: float | None = Field(description="The share of its memory that no program can have any more, 0 to 1.")
    memory_mb: float | None = Field(description="What its agent has, with the processes that it has started.")
    problems: list[str]


class SiteTunnelView(BaseModel):
    """A site's end of a tunnel, as it sees it. `out` is away from the site."""

    name: str
    state: str
    why: str
    port: int | None = Field(description="Where this end listens.")
    mtu: int | None
    handshake_age_s: float | None
    rtt_ms: float | None
    jitter_ms: float | None = Field(description="Of the round trip: its mean change from packet to packet.")
    jitter_out_ms: float | None
    jitter_in_ms: float | None
    loss_out: float | None
    loss_in: float | None
    received_bytes: int
    sent_bytes: int


class SiteRouteView(BaseModel):
    """Where a site sends what is for a prefix, now. tunnel null: no way is alive."""

    prefix: str
    class_name: str | None
    tunnel: str | None
    why: str
    moves: int


class SiteRuleView(BaseModel):
    """A rule of the policy (or a default), and how many packets it has decided on at a site.

    Counted since the agent started, as far as they came from a tunnel or would have gone into one.
    """

    rule: str
    allow: bool
    packets: int


class SiteDetailView(SiteView):
    """A site with its ends of tunnels, its routes, and what it has let through and dropped."""

    ends: list[SiteTunnelView]
    routes: list[SiteRouteView]
    rules: list[SiteRuleView] = Field(description="None where the site filters nothing.")


class TunnelView(BaseModel):
    """A tunnel between two sites; quality is as site a sees it, or else as site b does."""

    name: str
    a: str
    uplink_a: str
    b: str
    uplink_b: str
    transport: str
    phase: str = Field(description="coming, active, or leaving")
    up: bool = Field(description="Whether both ends call it up, or did when last heard of.")
    heard: bool = Field(description="Whether an end of it is on the control channel now.")
    state_a: str | None = Field(description="As site a says: making, up, down, failed; null: it has said nothing.")
    state_b: str | None
    rtt_ms: float | None
    jitter_ms: float | None
    jitter_ab_ms: float | None
    jitter_ba_ms: float | None
    loss_ab: float | None
    loss_ba: float | None
    mtu: int | None
    handshake_age_s: float | None
    why: str = Field(description="Why the two sites have tunnels, and why this one is in its phase.")


class RekeyView(BaseModel):
    """An order to make the keys of all tunnels anew."""

    number: int = Field(description="Of this order; the first is 1.")
    tunnels: int = Field(description="How many there are that will be replaced.")


class PartView(BaseModel):
    """A part of a score: what was measured (null: nothing), its cost from 0 to 1, and how much that counts."""

    name: str
    value: float | None
    cost: float
    weight: float


class WayView(BaseModel):
    """A way between two sites with its score, from 0 (best) to 1."""

    tunnels: list[str]
    sites: list[str]
    taken: bool
    up: bool
    score: float
    flaw: str
    parts: list[PartView]


class ChoiceView(BaseModel):
    """The ways for packets of a class (null: of none), best first, and why one of them is taken."""

    class_name: str | None
    why: str
    since: datetime
    ways: list[WayView]


class PathsView(BaseModel):
    """What was chosen from one site to another, and where the site itself sends packets now."""

    from_: str = Field(alias="from")
    to: str
    choices: list[ChoiceView]
    now: list[SiteRouteView]


class CardView(BaseModel):
    """What the signer is given so that sites follow this controller. None of it is secret."""

    state_key: str
    authority_sha256: str
    addresses: list[str]
    overlay_range: str


class Overlay:
    """An answer of the overlay, to be shown."""

    def __init__(self, answer: OverlayAnswer) -> None:
        self._answer = answer
        self._reports: dict[tuple[int, str], TunnelReport] = {
            (serial, one.name): one for serial, has in answer.said.items() for one in has.tunnels
        }

    def whole(self) -> OverlayView:
        """All of it in a few numbers."""
        answer = self._answer
        return OverlayView(
            epoch=answer.epoch,
            listening=answer.port > 0,
            sites=len(answer.sites),
            connected=sorted(self.name(serial) for serial in answer.connected),
            tunnels=len(answer.tunnels),
            tunnels_up=sum(self._up(one) for one in answer.tunnels),
            tunnels_unheard=sum(not self._is_heard(one) for one in answer.tunnels),
            problems=list(answer.problems),
        )

    def name(self, serial: int) -> str:
        """The name of a site; of one that is no member any more, its serial."""
        site = self._answer.sites.get(serial)
        return site.name if site is not None else f"serial {serial}"

    def find(self, name: str) -> Site | None:
        """The site of a name."""
        return next((site for site in self._answer.sites.values() if site.name == name), None)

    def named(self) -> str:
        """Which sites there are, for who looks for another."""
        names = sorted(site.name for site in self._answer.sites.values())
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"there are {', '.join(names[:_NAMED])}{more}" if names else "there is none yet"

    def sites(self) -> list[SiteView]:
        """All sites."""
        return [SiteView(**self._site(site)) for site in self._answer.sites.values()]

    def site(self, site: Site) -> SiteDetailView:
        """One site with all that it has said."""
        has = self._answer.said.get(site.serial)
        return SiteDetailView(
            **self._site(site),
            ends=[_end(one) for one in has.tunnels] if has is not None else [],
            routes=_routes(has),
            rules=[
                SiteRuleView(rule=one.rule, allow=one.allow, packets=one.packets)
                for one in (has.filters if has is not None else ())
            ],
        )

    def tunnels(self) -> list[TunnelView]:
        """All tunnels."""
        return [self._tunnel(one) for one in self._answer.tunnels]

    def paths(self, source: Site, to: Site, class_name: str | None) -> PathsView:
        """The ways from one site to another; class_name None: of every class."""
        choices = [
            self._choice(name, choice)
            for (src, dst, name), choice in self._answer.choices.items()
            if (src, dst) == (source.serial, to.serial) and class_name in (None, name)
        ]
        prefixes = {str(prefix) for prefix in to.prefixes}
        routes = [one for one in _routes(self._answer.said.get(source.serial)) if one.prefix in prefixes]
        now = [one for one in routes if class_name in (None, one.class_name)]
        # A class that has no routes of its own goes as packets of none do.
        now = now or [one for one in routes if one.class_name is None]
        choices.sort(key=lambda one: one.class_name or "")
        return PathsView(**{"from": source.name}, to=to.name, choices=choices, now=now)

    def _up(self, tunnel: Tunnel) -> bool:
        ends = (self._reports.get((serial, tunnel.name)) for serial in tunnel.line.pair)
        return all(end is not None and end.state.value == UP for end in ends)

    def _is_heard(self, tunnel: Tunnel) -> bool:
        return not self._answer.connected.isdisjoint(tunnel.line.pair)

    def _site(self, site: Site) -> dict[str, Any]:
        has = self._answer.said.get(site.serial)
        own = [one for one in self._answer.tunnels if site.serial in one.line.pair]
        return {
            "name": site.name,
            "serial": site.serial,
            "role": site.role.value,
            "prefixes": [str(prefix) for prefix in site.prefixes],
            "labels": dict(site.labels),
            "connected": site.serial in self._answer.connected,
            "generation_told": self._answer.told.get(site.serial),
            "generation_done": has.generation if has is not None else None,
            "uplinks": [uplink_view(one) for one in site.uplinks],
            "transports": [one.value for one in has.transports] if has is not None else [],
            "tunnels": len(own),
            "tunnels_up": sum(self._up(one) for one in own),
            "cpu": has.host.cpu if has is not None else None,
            "memory": has.host.memory if has is not None else None,
            "memory_mb": has.host.memory_mb if has is not None else None,
            "problems": list(has.problems) if has is not None else [],
        }

    def _tunnel(self, tunnel: Tunnel) -> TunnelView:
        line = tunnel.line
        at_a, at_b = (self._reports.get((serial, tunnel.name)) for serial in line.pair)
        best = at_a if at_a is not None and at_a.quality.rtt_ms is not None else at_b
        quality = best.quality if best is not None else None
        jitter = (quality.jitter_out_ms, quality.jitter_in_ms) if quality is not None else (None, None)
        lost = (quality.loss_out, quality.loss_in) if quality is not None else (None, None)
        reasons = (self._answer.why.get(line.pair, ""), tunnel.why, *(end.why for end in (at_a, at_b) if end))
        return TunnelView(
            name=tunnel.name,
            a=self.name(line.a),
            uplink_a=line.uplink_a,
            b=self.name(line.b),
            uplink_b=line.uplink_b,
            transport=line.transport,
            phase=tunnel.phase.value,
            up=self._up(tunnel),
            heard=self._is_heard(tunnel),
            state_a=at_a.state.value if at_a is not None else None,
            state_b=at_b.state.value if at_b is not None else None,
            rtt_ms=quality.rtt_ms if quality is not None else None,
            jitter_ms=quality.jitter_ms if quality is not None else None,
            jitter_ab_ms=jitter[0] if best is at_a else jitter[1],
            jitter_ba_ms=jitter[1] if best is at_a else jitter[0],
            loss_ab=lost[0] if best is at_a else lost[1],
            loss_ba=lost[1] if best is at_a else lost[0],
            mtu=_least(end.mtu for end in (at_a, at_b) if end is not None),
            handshake_age_s=best.handshake_age_s if best is not None else None,
            why="; ".join(dict.fromkeys(reason for reason in reasons if reason)),
        )

    def _choice(self, name: str | None, choice: Choice) -> ChoiceView:
        ways = [self._way(way, choice.taken) for way in choice.ranked]
        return ChoiceView(class_name=name, why=choice.why, since=moment(choice.since_s), ways=ways)

    def _way(self, way: ScoredWay, taken: ScoredWay) -> WayView:
        return WayView(
            tunnels=list(way.tunnels),
            sites=[self.name(serial) for serial in way.nodes],
            taken=way.tunnels == taken.tunnels,
            up=way.up,
            score=way.score,
            flaw=way.flaw,
            parts=[PartView(name=p.name, value=p.value, cost=p.cost, weight=p.weight) for p in way.parts],
        )


def uplink_view(one: Uplink) -> SiteUplinkView:
    """An uplink of a site."""
    return SiteUplinkView(
        name=one.name,
        address=str(one.address),
        callable=one.callable,
        capacity_mbps=one.capacity_mbps,
        price=one.price,
    )


def _end(one: TunnelReport) -> SiteTunnelView:
    quality = one.quality
    return SiteTunnelView(
        name=one.name,
        state=one.state.value,
        why=one.why,
        port=one.port,
        mtu=one.mtu,
        handshake_age_s=one.handshake_age_s,
        rtt_ms=quality.rtt_ms,
        jitter_ms=quality.jitter_ms,
        jitter_out_ms=quality.jitter_out_ms,
        jitter_in_ms=quality.jitter_in_ms,
        loss_out=quality.loss_out,
        loss_in=quality.loss_in,
        received_bytes=one.received_bytes,
        sent_bytes=one.sent_bytes,
    )


def _routes(has: Has | None) -> list[SiteRouteView]:
    if has is None:
        return []
    return [
        SiteRouteView(
            prefix=str(prefix), class_name=one.class_name, tunnel=one.tunnel, why=one.why, moves=one.moves
        )
        for one in has.routes
        for prefix in one.prefixes
    ]


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
