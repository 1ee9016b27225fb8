"""Keeps the intents: takes in changes, makes them so, and puts right what is no longer as it is wanted.

What is wanted is stored before it is done, and every round works out anew what is left to do: a round that never
ended, as the controller died in it, is simply gone over again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from ryu_apps import app
from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    ApplyIntents,
    IntentChange,
    IntentOutcome,
    IntentsAnswer,
    IntentsBusy,
    IntentsRequest,
    IntentsUndone,
    IntentVersionsRequest,
    NetworkChanged,
    NetworkRequest,
    PlanIntents,
    PolicyChanged,
    RatesMeasured,
    StitchesRequest,
    StitchMoved,
    VnetsChanged,
)
from ryu_apps.intents.changing import Present, judged
from ryu_apps.intents.hands import Ask, Hands
from ryu_apps.intents.kept import Store, stored_document
from ryu_apps.intents.surroundings import Surroundings
from ryu_apps.intents.transfer_book import TransferBook
from ryu_apps.store import StoreError
from stitching.intents.compiling import compile_document
from stitching.intents.editing import Raw
from stitching.intents.judging import Evidence, judge
from stitching.intents.planning import Action, Actual, Plan, plan
from stitching.intents.version import IntentVersion
from stitching.intents.wanted import Wanted
from stitching.intents.world import World, is_ours
from stitching.vnet import Directory

ROUND_S = 2.0
"""How often it is looked whether all is as it is wanted, when nothing says that it is not."""

ANSWER_S = 1.5
"""A change is answered when it is through, or after so long."""

_LATER = (LookupError, TimeoutError, StoreError)
_NEVER = IntentVersion(0, 0.0, settled=True)


class Intender(App):
    """Owns the intents."""

    _EVENTS: ClassVar[list[type]] = []

    def __init__(
        self,
        *args: Any,
        store: Store,
        ask: Ask = app.ask,
        day_ahead: bool = True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        """day_ahead: whether there is an outlook over the next day to ask for. Raises StoreError."""
        super().__init__(*args, **kwargs)
        self._store, self._ask, self._clock, self._monotonic = store, ask, clock, monotonic
        self._hands = Hands(ask, monotonic)
        self._version = store.version() or _NEVER
        self._raw: Raw = json.loads(self._version.document)
        self._document = stored_document(self._version)
        self._transfers = TransferBook(store, ask, self.log, monotonic, day_ahead=day_ahead)
        self._known = Surroundings(self._transfers, clock)
        self._wanted: Wanted | None = None
        self._asker: tuple[ApplyIntents, IntentOutcome, float] | None = None
        self._due = False

    def start(self) -> None:
        """Start the event loop and the rounds."""
        super().start()
        self.every(ROUND_S, "round")

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric."""
        self._taken_in(self._known.network(event.network))

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Follow the virtual networks."""
        self._taken_in(self._known.directory(Directory.of(event.vnets)))

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Somebody may have taken out our rules, or put others before them."""
        self._taken_in(self._known.policy(event.policy, event.time_s))

    def _taken_in(self, matters: bool) -> None:
        """More may be had now than was refused."""
        if matters:
            self._hands.forget()
            self._soon()

    @handles(StitchMoved)
    def on_stitch(self, event: StitchMoved) -> None:
        """A stitch of ours may have gone."""
        if is_ours(event.stitch):
            self._soon()

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """Count what transfers have carried."""
        if self._transfers.progress:
            self._transfers.count(self._document, self._known.world(), self._known.stitches, event.rates)

    @handles(Tick)
    def on_tick(self, tick: Tick) -> None:
        """Look whether all is as it is wanted."""
        if tick.name == "soon":
            self._due = False
        try:
            self._round()
        except _LATER as error:
            self._put_off(error)

    def _put_off(self, error: Exception) -> None:
        if isinstance(error, KeyError | IndexError):
            raise error  # a fault of ours, and no app that is missing
        self.log.warning("round=not done error=%s", str(error) or type(error).__name__)

    def _soon(self) -> None:
        """Look again once all that has happened by now is known."""
        if not self._due:
            self._due = True
            self.post(Tick("soon"))

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(IntentsRequest)
    def on_list(self, request: IntentsRequest) -> None:
        """Answer the intents and how they do."""
        self.serve(request, self._answer)

    @handles(IntentVersionsRequest)
    def on_versions(self, request: IntentVersionsRequest) -> None:
        """Answer the versions."""
        self.serve(request, self._store.versions)

    @handles(PlanIntents)
    def on_plan(self, request: PlanIntents) -> None:
        """Answer what a change would do."""
        self.serve(request, lambda: self._planned(request.change))

    @handles(ApplyIntents)
    def on_apply(self, request: ApplyIntents) -> None:
        """Store a change, and begin with it; it is answered when it is through."""
        try:
            self._begin(request)
        except Exception as error:  # noqa: BLE001  # it is raised again where the question was asked
            request.future.set_exception(error)
            return
        try:
            self._round()
        except _LATER as error:
            # It is stored, so that it goes on with the next round.
            self._put_off(error)

    def _answer(self) -> IntentsAnswer:
        world = self._fresh_world()
        wanted = compile_document(self._document, world)
        evidence = Evidence(wanted, self._actual(None), world, self._known.ruling(), self._hands.refusals)
        return IntentsAnswer(self._version, self._raw, judge(self._document, evidence))

    # -- changes --------------------------------------------------------------------------------------------

    def _present(self) -> Present:
        return Present(
            self._raw,
            self._document,
            self._fresh_world(),
            self._hands.rules(),
            self._hands.refusals,
            self._store.version,
        )

    def _planned(self, change: IntentChange) -> IntentOutcome:
        """What a change would do, and what of it could not be had now."""
        outcome = judged(change, self._present())[1]
        # Behind a change of the policy more, or less, may be had.
        refusals = {} if outcome.plan.changes_rules else self._hands.impossible(outcome.plan.of(Action.CREATE))
        return replace(outcome, refusals=refusals)

    def _begin(self, request: ApplyIntents) -> None:
        if self._version.atomic and not self._version.settled:
            raise IntentsBusy(
                f"version {self._version.version} is not through yet, and is done as a whole or not at all"
            )
        raw, outcome = judged(request.change, self._present())
        self._answer_asker(done=False)
        if raw == self._raw and not outcome.plan.changes:
            request.future.set_result(replace(outcome, version=self._version))
            return
        note = "" if request.change.version is None else f"version {request.change.version} again"
        self._take(self._store.save(self._clock(), json.dumps(raw), note, atomic=request.atomic))
        self._asker = request, outcome, self._monotonic() + ANSWER_S

    def _take(self, version: IntentVersion) -> None:
        """From now on this version is what is wanted."""
        self._version = version
        self._raw = json.loads(version.document)
        self._document = stored_document(version)
        self._hands.forget()
        self.log.info(
            "intents=%d version=%d atomic=%s note=%s",
            len(self._document.intents), version.version, version.atomic, version.note or "-",
        )  # fmt: skip

    # -- rounds ---------------------------------------------------------------------------------------------

    def _round(self) -> None:
        """Do what is left to do, up to a bound; the next round does the rest."""
        if not self._known.knows_fabric:
            self.on_network(NetworkChanged(self._ask("Discovery", NetworkRequest())))
        if not self._known.is_whole:
            return
        world = self._fresh_world()
        wanted = compile_document(self._document, world)
        actual = self._actual(self._wanted if self._version.settled else None)
        planned = plan(wanted, actual)
        self._hands.keep_only([*wanted.stitches, *wanted.rules])
        self._tell_drift(planned)
        self._transfers.take(wanted)
        # A stitch that needs a rule waits for it; one that has to go does not.
        ruled = self._hands.put_rules(planned.steps, self._rules_to_be(wanted, actual))
        steps = planned.steps if ruled else planned.of(Action.DELETE)
        whole = self._version.atomic and not self._version.settled
        tried = self._hands.do(steps, self._known.stitches, whole=whole)
        refused = self._hands.refusals
        self._wanted = wanted.without(refused)
        left = [step for step in planned.changes if step.key not in refused]
        if whole and refused:
            self._undo(next(iter(sorted(refused.items()))))
        elif not left:
            self._settle()
        if tried:
            self._soon()
        if self._asker is not None and self._monotonic() >= self._asker[2]:
            self._answer_asker(done=False)

    def _rules_to_be(self, wanted: Wanted, actual: Actual) -> dict[Any, Any]:
        left_alone = {key: rule for key, rule in actual.rules.items() if key[0] in wanted.unresolved}
        return {**left_alone, **wanted.rules}

    def _settle(self) -> None:
        """Nothing is left to do."""
        if not self._version.settled:
            self._store.settle(self._version.version)
            self._version = replace(self._version, settled=True)
            self.log.info("version=%d settled refused=%d", self._version.version, len(self._hands.refusals))
        self._answer_asker(done=True)

    def _undo(self, refused: tuple[tuple[str, str], str]) -> None:
        """A part of what was to be done as a whole cannot be had: go back to the version before."""
        (intent, _), reason = refused
        number = self._version.version
        before = self._store.version(number - 1) or _NEVER
        words = f"version {number} was undone, as {intent!r} cannot be had: {reason}"
        self.log.warning("version=%d undone intent=%s reason=%s", number, intent, reason)
        self._take(self._store.save(self._clock(), before.document, words, atomic=False))
        if self._asker is not None:
            request, _, _ = self._asker
            self._asker = None
            request.future.set_exception(IntentsUndone(words))
        self._soon()

    def _answer_asker(self, *, done: bool) -> None:
        if self._asker is None:
            return
        request, outcome, _ = self._asker
        self._asker = None
        refusals = {k: v for k, v in self._hands.refusals.items() if k in {s.key for s in outcome.plan.steps}}
        request.future.set_result(replace(outcome, refusals=refusals, version=self._version, done=done))

    def _tell_drift(self, planned: Plan) -> None:
        for step in planned.changes:
            if step.drift:
                self.log.info("drift intent=%s part=%s %s", *step.key, step.reason)

    # -- what is known --------------------------------------------------------------------------------------

    def _fresh_world(self) -> World:
        self._transfers.look_ahead()
        self._known.stitches = self._ask("Stitcher", StitchesRequest())
        return self._known.world()

    def _actual(self, applied: Wanted | None) -> Actual:
        return Actual(self._known.stitches, self._hands.rules(), applied)
