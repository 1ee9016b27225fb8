"""The app of the overlay: hears sites and the signer, decides in rounds, tells each site what it shall have."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.app import App, Tick, handles
from ryu_apps.events.overlay import (
    ClassesRequest,
    DeleteClass,
    DeleteRule,
    ExplainBetweenSites,
    OrderKeys,
    OverlayAnswer,
    OverlayRequest,
    PutClass,
    PutRule,
    RulesRequest,
    SetUplinkTerms,
    SiteLinksChanged,
)
from ryu_apps.events.policy import PolicyChanged
from ryu_apps.events.vnets import VnetsChanged
from ryu_apps.overlay import heard
from ryu_apps.overlay.ahead import Ahead
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.card import card_of
from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.foreseeing import STEP_S, Counters, Foreseeing
from ryu_apps.overlay.hearing import Hearing
from ryu_apps.overlay.keeping import KeptOverlay, Writing, restored
from ryu_apps.overlay.pacing import Pace, steady_clock
from ryu_apps.overlay.reports import Reports, next_legs, taken_tunnels
from ryu_apps.overlay.ruling import SiteRules
from ryu_apps.overlay.surveying import Survey
from ryu_apps.overlay.telling import Telling
from ryu_apps.overlay.trust import Doors, Trust
from ryu_apps.overlay.wanting import Told, wanted_of
from ryu_apps.store.codec import BadRecord, load
from ryu_apps.store.errors import StoreError
from stitching.overlay.explaining import SiteExplanation, at_two_sites, explain_between
from stitching.overlay.link_capacity import Carried, carried
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, next_round
from stitching.overlay.sites import Prefix, covers
from stitching.overlay.tunnels import DEFAULT_RANGE
from vte_agent.protocol.signed import Signed

HEAR_ALL_S = 20.0
"""How long a controller that has started again waits for the sites it knows before it decides anything."""

ROUND_S = 0.25
"""How soon a round is made of what had to wait."""


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
        overlay_range: Prefix = DEFAULT_RANGE,
        policy: OverlayPolicy | None = None,
        clock: Callable[[], float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._state_key = state_key
        self._card = card_of(state_key, authority.sha256, doors.called_at, overlay_range)
        self._save, self._clock = save, clock or steady_clock()
        self._defined = defined
        self._given = policy or OverlayPolicy()
        self._policy = defined.policy(self._given)
        self._stored, self._writing = saved, Writing()
        stored = _loaded(saved)
        before = restored(stored, self._clock()) if stored is not None else Overlay()
        self._overlay = replace(before, book=replace(before.book, overlay_range=overlay_range))
        self._hearing = Hearing(self.post)
        self._trust = Trust(
            doors,
            authority,
            self._hearing.listener(),
            lambda now: self.post(heard.RollTold(now)),
            lambda members: self.post(heard.MembersTold(members)),
        )
        self._reports = Reports()
        self._telling = Telling()
        self._rules = SiteRules()
        self._told_links: Carried = {}
        self._counters = Counters()
        self._foreseeing = Foreseeing(
            lambda result: self.post(heard.DemandsForeseen(result)),
            lambda fit: self.post(heard.DemandsFitted(fit)),
        )
        self._survey = Survey(self._reports, defined, self._foreseeing)
        self._ahead = Ahead()
        self._pace = Pace(lambda: self.post(heard.RoundDue()))
        self._problems: dict[str, str] = {}
        self._started_s = time.monotonic()
        self._waiting_for = frozenset(self._overlay.in_force)
        for serial in self._waiting_for:
            self._reports.silent(serial, self._clock(), self._overlay.generation)

    def start(self) -> None:
        """Begin; sites are let in once the signer has said who is a member."""
        super().start()
        self._tell_links()
        self._trust.start()
        self.every(ROUND_S, "round")
        self.every(STEP_S, "forecast")

    def stop(self) -> None:
        """Close the channel; sites go on without it."""
        self._trust.stop()
        self._foreseeing.stop()
        super().stop()

    # what the signer and sites say

    @handles(heard.RollTold)
    def _on_roll(self, event: heard.RollTold) -> None:
        left = self._trust.take_roll(event.now)
        self._forget(left)
        if left:
            self._round()
        else:
            self._pace.news()

    @handles(heard.MembersTold)
    def _on_members(self, event: heard.MembersTold) -> None:
        self._forget(self._trust.take_members(event.members))
        self._pace.news()

    def _forget(self, left: frozenset[int]) -> None:
        for serial in left:
            self._reports.forget(serial)
            self._counters.forget(serial)
            self._ahead.forget(serial)

    @handles(heard.SiteCame)
    def _on_came(self, event: heard.SiteCame) -> None:
        self._trust.came(event.serial)
        self._reports.came(event.serial)
        told = self._telling.told.get(event.serial)
        if told is not None:
            self._send(told)
        self._pace.news()

    @handles(heard.SiteSaid)
    def _on_said(self, event: heard.SiteSaid) -> None:
        serial, said = event.serial, self._hearing.take(event)
        for moved in said.moves:
            self.log.info(
                "event=site_moved serial=%d prefix=%s class=%s tunnel=%s reason=%r",
                serial, moved.prefix, moved.class_name or "", moved.after or "none", moved.why,
            )  # fmt: skip
        if said.has is not None:
            self._catch_up(serial, said.has.generation)
            is_news = self._reports.has(serial, said.has, self._clock(), self._trust.seen_at(serial))
            self._counters.has(serial, said.has, self._clock())
            if is_news:
                self._pace.news()

    def _catch_up(self, serial: int, generation: int) -> None:
        """A site has carried out what is not known here: the store was lost, or is an old one.

        It takes nothing that is not above what it has, so all that follows is.
        """
        overlay = self._overlay
        if not self._ahead.leads(serial, overlay.generation, generation):
            return
        self.log.warning("event=overlay_behind serial=%d known=%d said=%d", serial, overlay.generation, generation)
        in_force = {one: sent for one, sent in overlay.in_force.items() if one != serial}
        self._overlay = replace(overlay, generation=generation, in_force=MappingProxyType(in_force))
        self._telling.told.pop(serial, None)

    @handles(heard.SiteGone)
    def _on_gone(self, event: heard.SiteGone) -> None:
        self._reports.silent(event.serial, self._clock(), self._overlay.generation)

    # Policing and forwarding start before this app does: both are heard before a site is told anything.

    @handles(PolicyChanged)
    def _on_policy(self, event: PolicyChanged) -> None:
        self._rules.policy(event.policy, event.time_s)
        self._pace.news()

    @handles(VnetsChanged)
    def _on_vnets(self, event: VnetsChanged) -> None:
        self._rules.vnets(event.vnets)
        self._pace.news()

    @handles(heard.RoundDue)
    def _on_due(self, _event: heard.RoundDue) -> None:
        if self._pace.take_due():
            self._round()

    @handles(Tick)
    def _on_tick(self, tick: Tick) -> None:
        if tick.name == "forecast":
            self._look_ahead()
            return
        self._trust.look()
        if self._pace.is_time():
            self._round()

    # rounds

    def _round(self) -> None:
        with self._pace.round():
            roll = self._trust.ruling
            if roll is None:
                return
            # Also while nothing is decided yet: who asks for the sites is told of those there are.
            facts = self._survey.facts(self._trust.members, self._overlay)
            if self._has_heard_all():
                self._decide(roll, facts)

    def _decide(self, roll: Signed, facts: Facts) -> None:
        before = self._overlay
        made = next_round(before, facts, self._policy, self._clock())
        self._telling.keep(self._trust.members.open)
        self._rules.sites(facts.sites)
        self._overlay, news = self._telling.news(
            made.overlay,
            roll,
            self._trust.followed,
            self._trust.members.signed,
            self._reports.far_ends,
            self._rules.of,
        )
        document = self._writing.text(self._overlay)
        if document != self._stored:
            # Before anybody is told: an address or a generation that was given is never given again.
            try:
                self._save(document)
            except StoreError as error:
                self._problems["store"] = f"sites are told nothing new: {error}"
                # What they were told last is still what they are told when they come.
                self._overlay = before
                return
            self._problems.pop("store", None)
            self._stored = document
        for event in made.events:
            self.log.info("event=overlay %s", event)
        for told in news:
            self._telling.told[told.serial] = told
            # Who comes just now is told the last of all when that is heard here, and none before that.
            if told.serial in self._reports.here:
                self._send(told)
        self._tell_links()

    def _tell_links(self) -> None:
        """Say which links of the fabric go through tunnels, and what they carry, where that has changed."""
        legs = next_legs(self._reports.said, self._overlay.book)
        links = carried(self._overlay.links, self._overlay.book, self._survey.sites, legs)
        if links != self._told_links:
            self._told_links = links
            self.publish(SiteLinksChanged(links))

    def _has_heard_all(self) -> bool:
        """Whether all whom it knew when it started have spoken, or have had the time to.

        By the word of some alone tunnels of the others would look dead. They all go on as they are meanwhile.
        """
        if self._waiting_for:
            members = self._trust.members.open.keys()
            self._waiting_for &= members - self._reports.said.keys()
            if time.monotonic() - self._started_s >= HEAR_ALL_S:
                self._waiting_for = frozenset()
        return not self._waiting_for

    def _send(self, told: Told) -> None:
        if self._trust.gate is not None:
            self._trust.gate.send_wanted(told.serial, lambda: Signed.of(wanted_of(told), self._state_key))

    # what is to come

    @handles(heard.DemandsForeseen)
    def _on_foreseen(self, event: heard.DemandsForeseen) -> None:
        self._foreseeing.take(event.result)
        self._pace.news()

    @handles(heard.DemandsFitted)
    def _on_fitted(self, event: heard.DemandsFitted) -> None:
        self._foreseeing.take_fit(event.result)

    def _look_ahead(self) -> None:
        """Where it matters: an uplink can be full, or two sites send enough to get a tunnel of their own."""
        sending, enough_mbps = self._counters.sending, self._policy.mesh.direct.add_mbps / 2
        is_limited = any(
            up.capacity_mbps is not None for site in self._survey.sites.values() for up in site.uplinks
        )
        if is_limited or self._foreseeing.expected or any(mbps >= enough_mbps for mbps in sending.values()):
            choices = self._overlay.choices
            takes = taken_tunnels(choices, self._reports.said, self._survey.sites, self._overlay.book)
            self._foreseeing.step(self._clock(), sending, choices, takes)

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

    @handles(RulesRequest)
    def _on_rules(self, request: RulesRequest) -> None:
        self.serve(request, lambda: self._defined.rules)

    @handles(PutRule)
    def _on_put_rule(self, request: PutRule) -> None:
        self.serve(request, lambda: self._defined.put_rule(request.rule))
        self._reconsider()

    @handles(DeleteRule)
    def _on_delete_rule(self, request: DeleteRule) -> None:
        self.serve(request, lambda: self._defined.delete_rule(request.name))
        self._reconsider()

    @handles(OrderKeys)
    def _on_order_keys(self, request: OrderKeys) -> None:
        self.serve(request, self._defined.order_keys)
        self._reconsider()

    @handles(SetUplinkTerms)
    def _on_terms(self, request: SetUplinkTerms) -> None:
        self.serve(request, lambda: self._defined.put_terms(request.terms))
        self._reconsider()

    def _reconsider(self) -> None:
        self._policy = self._defined.policy(self._given)
        self._pace.news(waits=False)

    # answers

    @handles(OverlayRequest)
    def _on_request(self, request: OverlayRequest) -> None:
        self.serve(request, self._answer)

    @handles(ExplainBetweenSites)
    def _on_explain(self, request: ExplainBetweenSites) -> None:
        self.serve(request, lambda: self._explain(request))

    def _explain(self, request: ExplainBetweenSites) -> SiteExplanation | None:
        ends = at_two_sites(request.sources, request.targets, self._survey.sites)
        if ends is None:
            return None
        classes = [planned for planned, _ in self._policy.classes]
        leg = next_legs(self._reports.said, self._overlay.book)
        return explain_between(self._rules.at(request.at_s), ends, request.flow, self._survey.sites, classes, leg)

    def _answer(self) -> OverlayAnswer:
        roll = self._trust.roll
        return OverlayAnswer(
            roll.epoch if roll is not None else 0,
            dict(self._survey.sites),
            self._trust.connected,
            frozenset(roll.revoked) if roll is not None else frozenset(),
            dict(self._reports.said),
            {serial: told.generation for serial, told in self._telling.told.items()},
            self._overlay.book.tunnels(),
            self._overlay.mesh.why,
            self._overlay.choices,
            self._all_problems(),
            self._card,
            self._trust.port,
            self._overlay.links.links,
        )

    def _all_problems(self) -> tuple[str, ...]:
        problems = [*self._problems.values(), *self._ahead.problems, *self._survey.problems]
        problems += [*self._overlay.mesh.problems, *self._overlay.link_problems]
        roll = self._trust.roll
        if roll is not None and self._card.state_key not in roll.controllers:
            problems.append(
                "no site follows this controller, as the signer does not trust it: "
                "lockstitch signer trust --card CARD (`lockstitch overlay card` prints it)"
            )
        elif roll is not None and not any(covers(one, self._card.overlay_range) for one in roll.ranges):
            problems.append(
                "no site makes a tunnel, as the signer does not know that they have their addresses in "
                f"{self._card.overlay_range}: lockstitch signer trust --card CARD "
                "(`lockstitch overlay card` prints it)"
            )
        return tuple(dict.fromkeys(one for one in (*problems, *self._trust.problems) if one))


def _loaded(saved: str | None) -> KeptOverlay | None:
    if saved is None:
        return None
    try:
        return load(KeptOverlay, saved)
    except BadRecord as error:
        raise ValueError(f"the stored overlay cannot be read: {error}; is this an older Lockstitch?") from error
