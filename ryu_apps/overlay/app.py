"""The app of the overlay: hears sites and the signer, decides in rounds, tells each site what it shall have."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.events.overlay import (
    ClassesRequest,
    DeleteClass,
    ExplainBetweenSites,
    OverlayAnswer,
    OverlayRequest,
    PutClass,
    SetUplinkTerms,
    SiteLinksChanged,
)
from ryu_apps.events.policy import PolicyChanged
from ryu_apps.events.vnets import VnetsChanged
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.card import card_of
from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.foreseeing import STEP_S, Counters, Foreseeing, Foreseen
from ryu_apps.overlay.gate import Gate, GateError
from ryu_apps.overlay.hosting import GateListener
from ryu_apps.overlay.keeping import KeptOverlay, kept, restored
from ryu_apps.overlay.members import Members
from ryu_apps.overlay.recalling import recalled_bridge, recalled_transports, recalled_uplinks
from ryu_apps.overlay.reports import Reports, next_legs, site_of
from ryu_apps.overlay.ruling import SiteRules
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.overlay.signing.watching import MembersWatch, RollWatch
from ryu_apps.overlay.telling import Telling
from ryu_apps.predicting.fits import Fit
from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.errors import StoreError
from stitching.network import PortId
from stitching.overlay.demands import pair_demands
from stitching.overlay.explaining import SiteExplanation, at_two_sites, explain_between
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, next_round
from stitching.overlay.sites import Site, SitesRefused, checked
from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import NotSigned, Signed
from vte_agent.protocol.wanted import Wanted

MOST_AHEAD = 1 << 40
"""By so much a site may be ahead of what is known here: no site can use up the numbers there are."""

HEAR_ALL_S = 20.0
"""How long a controller that has started again waits for the sites it knows before it decides anything."""

ROUND_S, LOOK_S = 0.25, 1.0
"""How soon a round is made of what had to wait, and how often one is made where nothing was heard."""

GATE_AGAIN_S = 5.0


@dataclass
class _Came(Event):
    serial: int


@dataclass
class _Said(Event):
    serial: int
    has: Has


@dataclass
class _Moved(Event):
    serial: int
    moved: Moved


@dataclass
class _Gone(Event):
    serial: int
    why: str


@dataclass
class _Roll(Event):
    now: RollNow


@dataclass
class _Listed(Event):
    members: tuple[Signed, ...]


@dataclass
class _Foreseen(Event):
    result: Foreseen


@dataclass
class _Fitted(Event):
    result: Fit


@dataclass
class _Due(Event):
    """A round is due, of all that was heard before this."""


@dataclass(frozen=True)
class Doors:
    """Where the overlay listens for sites, where its signer does, and the addresses by which sites call."""

    host: str
    port: int
    signer: Path
    addresses: tuple[str, ...] = ()

    @property
    def called_at(self) -> tuple[str, ...]:
        """As agents call it: what was given for that, or where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.addresses or (f"{host}:{self.port}",)


class SiteOverlay(App):
    """Owns the overlay. `save` stores a document and `saved` is the one that was stored last."""

    _EVENTS: ClassVar[list[type]] = [SiteLinksChanged]

    def __init__(
        self,
        *,
        doors: Doors,
        authority: Authority,
        state_key: Ed25519PrivateKey,
        save: Callable[[str], None],
        saved: str | None,
        defined: Defined,
        policy: OverlayPolicy | None = None,
        clock: Callable[[], float] = time.time,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._doors = doors
        self._authority = authority
        self._state_key = state_key
        self._card = card_of(state_key, authority.sha256, doors.called_at)
        self._save, self._clock = save, clock
        self._defined = defined
        self._policy = replace(policy or OverlayPolicy(), classes=defined.planned)
        self._stored = _loaded(saved)
        self._overlay = restored(self._stored) if self._stored is not None else Overlay()
        self._client = SignerClient(doors.signer)
        self._watch = RollWatch(self._client, lambda now: self.post(_Roll(now)))
        self._members_watch = MembersWatch(self._client, lambda members: self.post(_Listed(members)))
        self._gate: Gate | None = None
        self._roll: Signed | None = None
        self._open_roll: Roll | None = None
        self._policy_key: PublicKey | None = None
        self._listed: tuple[Signed, ...] | None = None
        self._members = Members()
        self._reports = Reports()
        self._sites: dict[int, Site] = {}
        self._telling = Telling()
        self._rules = SiteRules()
        self._told_links: frozenset[tuple[PortId, PortId]] = frozenset()
        self._counters = Counters()
        self._foreseeing = Foreseeing(
            lambda result: self.post(_Foreseen(result)), lambda fit: self.post(_Fitted(fit))
        )
        self._problems: dict[str, str] = {}
        self._gate_again_s = float("-inf")
        self._has_news = self._is_due = False
        self._rested_s = self._look_s = float("-inf")
        self._started_s = time.monotonic()
        self._waiting_for = frozenset(self._overlay.in_force)
        for serial in self._waiting_for:
            self._reports.silent(serial, clock())

    def start(self) -> None:
        """Begin; sites are let in once the signer has said who is a member."""
        super().start()
        self._tell_links()
        self._watch.start()
        self._members_watch.start()
        self.every(ROUND_S, "round")
        self.every(STEP_S, "forecast")

    def stop(self) -> None:
        """Close the channel; sites go on without it."""
        self._watch.stop()
        self._members_watch.stop()
        if self._gate is not None:
            self._gate.stop()
        self._foreseeing.stop()
        super().stop()

    @property
    def port(self) -> int:
        """Where sites are listened for; 0 while they are not yet."""
        return self._gate.port if self._gate is not None else 0

    # what the signer and sites say

    @handles(_Roll)
    def _on_roll(self, event: _Roll) -> None:
        try:
            roll = event.now.roll.open(Roll, [event.now.policy_key])
        except NotSigned as error:
            self._problems["roll"] = f"the signer's roll is none: {error}"
            return
        self._problems.pop("roll", None)
        self._roll, self._open_roll, self._policy_key = event.now.roll, roll, event.now.policy_key
        self._open_gate()
        if self._gate is not None:
            # Whom it revokes is out before anything else is done.
            self._gate.publish_roll(event.now.roll)
        self._members_watch.look()
        self._take_members()
        self._round()

    @handles(_Listed)
    def _on_listed(self, event: _Listed) -> None:
        self._listed = event.members
        self._take_members()
        self._soon()

    def _take_members(self) -> None:
        """Who is a member by the newest list and the newest roll, whichever came last."""
        if self._listed is None or self._open_roll is None or self._policy_key is None:
            return
        for serial in self._members.take(self._listed, self._open_roll, self._policy_key, self._clock()):
            self._reports.forget(serial)
            self._counters.forget(serial)

    def _open_gate(self) -> None:
        """Listen for sites, once it is known whom to trust; where the port is taken, with the next look."""
        if self._gate is not None or self._policy_key is None or self._roll is None:
            return
        gate = Gate(self._authority, self._policy_key, self._client.admit, self._listener())
        try:
            gate.start(self._doors.host, self._doors.port)
        except GateError as error:
            self._problems["gate"] = f"{error}; it is tried again: end what listens there"
            return
        self._problems.pop("gate", None)
        self._gate = gate
        gate.publish_roll(self._roll)
        self.log.info("event=overlay_open port=%d", gate.port)

    def _listener(self) -> GateListener:
        return GateListener(
            on_hello=lambda serial, _hello: self.post(_Came(serial)),
            on_has=lambda serial, has: self.post(_Said(serial, has)),
            on_moved=lambda serial, moved: self.post(_Moved(serial, moved)),
            on_gone=lambda serial, why: self.post(_Gone(serial, why)),
        )

    @handles(_Came)
    def _on_came(self, event: _Came) -> None:
        if event.serial not in self._members.open:
            self._members_watch.look()
        told = self._telling.told.get(event.serial)
        if told is not None:
            self._send(told.wanted)
        self._soon()

    @handles(_Said)
    def _on_said(self, event: _Said) -> None:
        self._catch_up(event.serial, event.has.generation)
        seen_from = self._gate.address(event.serial) if self._gate is not None else None
        self._reports.has(event.serial, event.has, self._clock(), seen_from)
        self._counters.has(event.serial, event.has, self._clock())
        self._soon()

    def _soon(self) -> None:
        """A round of all that is heard meanwhile. After each there is a rest as long: sites may be thousands."""
        self._has_news = True
        if not self._is_due and time.monotonic() >= self._rested_s:
            self._is_due = True
            self.post(_Due())

    @handles(_Due)
    def _on_due(self, _event: _Due) -> None:
        self._is_due = False
        if self._has_news:
            self._round()

    def _catch_up(self, serial: int, generation: int) -> None:
        """A site has carried out what is not known here: the store was lost, or is an old one.

        It takes nothing that is not above what it has, so all that follows is.
        """
        overlay = self._overlay
        if generation <= overlay.generation:
            return
        if generation - overlay.generation > MOST_AHEAD:
            self._problems["generation"] = f"serial {serial} says it carries out generation {generation}"
            return
        self.log.warning("event=overlay_behind serial=%d known=%d said=%d", serial, overlay.generation, generation)
        in_force = {one: sent for one, sent in overlay.in_force.items() if one != serial}
        self._overlay = replace(overlay, generation=generation, in_force=MappingProxyType(in_force))
        self._telling.told.pop(serial, None)

    @handles(_Moved)
    def _on_moved(self, event: _Moved) -> None:
        moved = event.moved
        self.log.info(
            "event=site_moved serial=%d prefix=%s class=%s tunnel=%s reason=%r",
            event.serial, moved.prefix, moved.class_name or "", moved.after or "none", moved.why,
        )  # fmt: skip

    @handles(_Gone)
    def _on_gone(self, event: _Gone) -> None:
        self._reports.silent(event.serial, self._clock())

    # Policing and forwarding start before this app does: both are heard before a site is told anything.

    @handles(PolicyChanged)
    def _on_policy(self, event: PolicyChanged) -> None:
        self._rules.policy(event.policy, event.time_s)
        self._soon()

    @handles(VnetsChanged)
    def _on_vnets(self, event: VnetsChanged) -> None:
        self._rules.vnets(event.vnets)
        self._soon()

    @handles(Tick)
    def _on_tick(self, tick: Tick) -> None:
        if tick.name == "forecast":
            self._look_ahead()
            return
        if time.monotonic() >= self._gate_again_s:
            self._gate_again_s = time.monotonic() + GATE_AGAIN_S
            self._open_gate()
        if self._has_news or time.monotonic() >= self._look_s:
            self._round()

    # rounds

    def _round(self) -> None:
        began_s, self._has_news = time.monotonic(), False
        # Before it is known who is a member all would look gone.
        if self._roll is not None and self._listed is not None and self._has_heard_all():
            self._decide(self._roll)
        ended_s = time.monotonic()
        self._rested_s, self._look_s = 2 * ended_s - began_s, ended_s + LOOK_S

    def _decide(self, roll: Signed) -> None:
        facts = self._facts()
        made = next_round(self._overlay, facts, self._policy, self._clock())
        for event in made.events:
            self.log.info("event=overlay %s", event)
        self._telling.keep(self._members.open)
        self._rules.sites(facts.sites)
        self._overlay, news = self._telling.news(
            made.overlay, roll, self._members.signed, self._reports.far_ends, self._rules.of
        )
        document = kept(self._overlay)
        if document != self._stored:
            # Before anybody is told: an address or a generation that was given is never given again.
            try:
                self._save(dump(document))
            except StoreError as error:
                self._problems["store"] = f"sites are told nothing new: {error}"
                return
            self._problems.pop("store", None)
            self._stored = document
        for told in news:
            self._telling.told[told.wanted.serial] = told
            self._send(told.wanted)
        self._tell_links()

    def _tell_links(self) -> None:
        """Say which links of the fabric go through tunnels, where these are others than those said last."""
        links = self._overlay.links.plugged
        if links != self._told_links:
            self._told_links = links
            self.publish(SiteLinksChanged(links))

    def _has_heard_all(self) -> bool:
        """Whether all whom it knew when it started have spoken, or have had the time to.

        By the word of some alone tunnels of the others would look dead. They all go on as they are meanwhile.
        """
        if self._waiting_for:
            self._waiting_for &= self._members.open.keys() - self._reports.said.keys()
            if time.monotonic() - self._started_s >= HEAR_ALL_S:
                self._waiting_for = frozenset()
        return not self._waiting_for

    def _facts(self) -> Facts:
        sites = {}
        for serial, member in self._members.open.items():
            said, hidden = self._reports.said.get(serial), self._reports.hidden.get(serial, ())
            site = site_of(member, said, hidden)
            if said is None and (transports := recalled_transports(self._overlay, serial)):
                # It goes on with what it has, and is not without uplinks for not having been heard yet.
                uplinks = recalled_uplinks(self._overlay, serial)
                bridge = recalled_bridge(self._overlay, serial)
                site = replace(site, uplinks=uplinks, transports=transports, bridge=bridge)
            sites[serial] = self._defined.on_terms(site)
        if sites != self._sites:
            try:
                checked(sites.values(), self._overlay.book.overlay_range)
            except SitesRefused as error:
                self._problems["sites"] = str(error)
            else:
                self._problems.pop("sites", None)
                self._sites = sites
        ends = {tunnel.name: tunnel.line.pair for tunnel in self._overlay.book.tunnels()}
        known = {serial for tunnel in self._overlay.book.tunnels() for serial in tunnel.line.pair}
        return Facts(
            self._sites,
            self._reports.reports,
            self._reports.measured(ends),
            self._reports.loads,
            self._reports.silent_since_s,
            pair_demands(self._foreseeing.expected),
            self._foreseeing.expected,
            departed=frozenset((known | self._overlay.in_force.keys()) - self._members.open.keys()),
        )

    def _send(self, wanted: Wanted) -> None:
        if self._gate is not None:
            self._gate.send_wanted(wanted.serial, Signed.of(wanted, self._state_key))

    # what is to come

    @handles(_Foreseen)
    def _on_foreseen(self, event: _Foreseen) -> None:
        self._foreseeing.take(event.result)
        self._soon()

    @handles(_Fitted)
    def _on_fitted(self, event: _Fitted) -> None:
        self._foreseeing.take_fit(event.result)

    def _look_ahead(self) -> None:
        """Only where it matters: where it is known what an uplink carries."""
        if any(uplink.capacity_mbps is not None for site in self._sites.values() for uplink in site.uplinks):
            self._foreseeing.step(self._clock(), self._counters.sending, self._overlay.choices)

    # what people say

    @handles(ClassesRequest)
    def _on_classes(self, request: ClassesRequest) -> None:
        self.serve(request, lambda: self._defined.classes)

    @handles(PutClass)
    def _on_put_class(self, request: PutClass) -> None:
        self.serve(request, lambda: self._defined.put_class(request.order, request.matches, request.wants))
        self._reconsider()

    @handles(DeleteClass)
    def _on_delete_class(self, request: DeleteClass) -> None:
        self.serve(request, lambda: self._defined.delete_class(request.name))
        self._reconsider()

    @handles(SetUplinkTerms)
    def _on_terms(self, request: SetUplinkTerms) -> None:
        self.serve(request, lambda: self._defined.put_terms(request.terms))
        self._reconsider()

    def _reconsider(self) -> None:
        self._policy = replace(self._policy, classes=self._defined.planned)
        self._soon()

    # answers

    @handles(OverlayRequest)
    def _on_request(self, request: OverlayRequest) -> None:
        self.serve(request, self._answer)

    @handles(ExplainBetweenSites)
    def _on_explain(self, request: ExplainBetweenSites) -> None:
        self.serve(request, lambda: self._explain(request))

    def _explain(self, request: ExplainBetweenSites) -> SiteExplanation | None:
        ends = at_two_sites(request.sources, request.targets, self._sites)
        if ends is None:
            return None
        classes = [planned for planned, _ in self._policy.classes]
        leg = next_legs(self._reports.said, self._overlay.book)
        return explain_between(self._rules.at(request.at_s), ends, request.flow, self._sites, classes, leg)

    def _answer(self) -> OverlayAnswer:
        gate, roll = self._gate, self._open_roll
        problems = [*self._problems.values(), *self._overlay.mesh.problems, *self._overlay.link_problems]
        if self._members.problem:
            problems.append(self._members.problem)
        if roll is not None and self._card.state_key not in roll.controllers:
            problems.append(
                "no site follows this controller, as the signer does not trust it: "
                "lockstitch signer trust --card CARD (`lockstitch overlay card` prints it)"
            )
        problems += [one for one in (self._watch.problem, self._members_watch.problem) if one]
        if gate is not None:
            problems += [f"serial {serial}: {what}" for serial, what in gate.problems().items()]
        return OverlayAnswer(
            roll.epoch if roll is not None else 0,
            dict(self._sites),
            gate.connected() if gate is not None else frozenset(),
            frozenset(roll.revoked) if roll is not None else frozenset(),
            dict(self._reports.said),
            {serial: told.wanted.generation for serial, told in self._telling.told.items()},
            self._overlay.book.tunnels(),
            self._overlay.mesh.why,
            self._overlay.choices,
            tuple(dict.fromkeys(problems)),
            self._card,
            self.port,
            self._overlay.links.links,
        )


def _loaded(saved: str | None) -> KeptOverlay | None:
    if saved is None:
        return None
    try:
        return load(KeptOverlay, saved)
    except BadRecord as error:
        raise ValueError(f"the stored overlay cannot be read: {error}; is this an older Lockstitch?") from error
