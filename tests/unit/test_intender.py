"""The app that keeps intents: what drifts is put right, what cannot be had is said, a crash leaves no trace."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ryu_apps.events import (
    ApplyIntents,
    IntentChange,
    IntentOutcome,
    IntentsAnswer,
    IntentsBusy,
    IntentsRequest,
    IntentsUndone,
    PlanIntents,
    PolicyRequest,
    PutPolicy,
    Rates,
    RatesMeasured,
    VnetsChanged,
)
from ryu_apps.store import IntentStore, StateStore, StoreError
from stitching.intents.wanted import key_of
from stitching.intents.world import is_ours
from stitching.stitch import ENDED, State, Stitch, VmRequest
from tests.unit.fake_intender import HandIntender
from tests.unit.test_rest_fake import MACS, NOW_S, FakeController, day_outlook, red_and_blue

H1, H2, H3, H4 = MACS
VIDEO: dict[str, Any] = {"name": "video", "latency": {"between": ["h1", "h2"], "bandwidth": 2}}
KEEP: dict[str, Any] = {"name": "keep", "apart": ["red", "blue"]}


def lab() -> FakeController:
    return FakeController(vnets=red_and_blue())


def apply(controller: FakeController, *intents: dict[str, Any], atomic: bool = False) -> IntentOutcome:
    change = IntentChange({"intents": list(intents)})
    outcome: IntentOutcome = controller.ask("Intender", ApplyIntents(change, atomic), 1.0)
    return outcome


def status(controller: FakeController, name: str) -> Any:
    answer: IntentsAnswer = controller.ask("Intender", IntentsRequest(), 1.0)
    return next(one for one in answer.statuses if one.intent == name)


def live(controller: FakeController) -> list[Stitch]:
    going = (*ENDED, State.TERMINATING)
    return [one for one in controller.stitches.values() if is_ours(one) and one.state not in going]


def end(controller: FakeController, stitch: Stitch) -> None:
    controller.add(replace(stitch, state=State.TERMINATED, path=None))


def rules(controller: FakeController) -> list[str]:
    newest = controller.ask("Policing", PolicyRequest(), 1.0)
    return [one["name"] for one in json.loads(newest.document)["rules"]] if newest is not None else []


def test_a_stitch_that_was_deleted_by_hand_comes_back() -> None:
    controller = lab()
    apply(controller, VIDEO)
    (first,) = live(controller)
    end(controller, first)
    controller.intender.round()
    (second,) = live(controller)
    assert second.id != first.id and second.request == first.request


def test_a_rule_that_was_taken_out_by_hand_comes_back_and_rules_of_people_stay() -> None:
    controller = lab()
    mine = {"name": "mine", "from": {"host": "h1"}, "to": {"host": "h3"}, "action": "deny"}
    controller.ask("Policing", PutPolicy({"rules": [mine]}), 1.0)
    apply(controller, KEEP, {"name": "web", "reach": {"from": "h1", "to": "h2"}})
    # What denies comes first, what allows last: nobody's own rules let more through than they did.
    assert rules(controller) == ["intent/keep/from-blue", "intent/keep/from-red", "mine", "intent/web/to"]
    controller.ask("Policing", PutPolicy({"rules": [mine]}), 1.0)
    controller.intender.round()
    assert len(rules(controller)) == 4
    apply(controller)
    assert rules(controller) == ["mine"]


def test_a_stitch_that_failed_is_told_with_its_reason() -> None:
    controller = lab()
    apply(controller, VIDEO)
    (stitch,) = live(controller)
    controller.add(replace(stitch, state=State.FAILED, reason="no probe came through"))
    found = status(controller, "video")
    assert (found.standing, found.reason) == ("violated", "stitch 1 is failed: no probe came through")
    controller.intender.round()
    assert live(controller) == [controller.stitches[1]], "it is tried again by those who own it"


def test_manual_stitches_are_never_touched_also_where_they_are_in_the_way() -> None:
    controller = lab()
    labels = (("intent", "video"), ("part", f"{H1}>{H2}"))
    manual = controller.add(Stitch(90, VmRequest(H1, H2, 1.0, labels=labels), State.UP, NOW_S, NOW_S))
    outcome = apply(controller, VIDEO)
    assert list(outcome.refusals.values()) == ["destination: stitch 90 joins these hosts already; delete it first"]
    apply(controller)
    assert controller.stitches[90] is manual


def test_what_was_refused_is_had_as_soon_as_it_can_be() -> None:
    controller = lab()
    manual = controller.add(Stitch(90, VmRequest(H1, H2, 1.0), State.UP, NOW_S, NOW_S))
    apply(controller, VIDEO)
    assert status(controller, "video").standing == "violated"
    end(controller, manual)
    controller.intender.round()
    assert live(controller) == [], "not at once"
    controller.intender.now_s += 6.0
    controller.intender.round()
    assert len(live(controller)) == 1


def test_other_terms_change_the_stitch_that_is_there() -> None:
    controller = lab()
    apply(controller, VIDEO)
    (stitch,) = live(controller)
    controller.add(stitch.to(State.UP, NOW_S))
    apply(controller, {"name": "video", "latency": {"between": ["h1", "h2"], "bandwidth": 3}})
    (after,) = live(controller)
    assert (after.id, after.request.bandwidth_mbps) == (stitch.id, 3.0)


def test_what_was_changed_by_hand_is_named_as_drift_and_put_right() -> None:
    controller = lab()
    apply(controller, VIDEO)
    (stitch,) = live(controller)
    other = replace(stitch.request, bandwidth_mbps=7.0)
    controller.add(replace(stitch, state=State.UP, request=other))
    outcome = controller.ask("Intender", PlanIntents(IntentChange({"intents": [VIDEO]})), 1.0)
    (step,) = outcome.plan.changes
    assert step.drift and step.reason == "it was changed by hand: bandwidth 7 Mbit/s -> 2 Mbit/s"
    controller.intender.round()
    assert live(controller)[0].request == stitch.request


def test_nothing_is_done_that_could_not_be_stored() -> None:
    controller = lab()

    class Full(IntentStore):
        def save(self, *_: Any, **__: Any) -> Any:
            raise StoreError("the disk is full")

    database = StateStore("sqlite://").database
    controller.intender = HandIntender(
        lambda name, request: controller.ask(name, request, 1.0), NOW_S, Full(database)
    )
    with pytest.raises(StoreError):
        apply(controller, VIDEO)
    assert controller.stitches == {}


def test_an_app_that_is_away_is_waited_for() -> None:
    controller = lab()
    apply(controller, VIDEO)
    end(controller, live(controller)[0])
    controller.broken["Stitcher"] = TimeoutError("late")
    controller.intender.round()
    del controller.broken["Stitcher"]
    controller.intender.round()
    assert len(live(controller)) == 1


def test_nothing_is_taken_away_before_it_is_known_who_is_there() -> None:
    controller = lab()
    apply(controller, {"name": "all", "latency": {"between": ["red", "red"]}})
    assert len(live(controller)) == 3
    restart(controller)
    controller.intender.round()
    controller.intender.app.on_vnets(VnetsChanged(()))
    controller.intender.round()
    assert len(live(controller)) == 3


def test_a_host_that_is_away_takes_nothing_from_what_was_carried() -> None:
    controller = lab()
    ends = {"from": "10.0.0.1", "to": "10.0.0.2", "amount": "1 GB"}
    apply(controller, {"name": "move", "transfer": {**ends, "deadline": "16:00", "start": "14:00", "zone": "UTC"}})
    hand = controller.intender
    hand.now_s += 20.0
    hand.app.on_rates(RatesMeasured(Rates(hand.now_s, 1.0, demand_mbps={(H1, H2): 400.0})))
    there, controller.network = controller.network, replace(controller.network, hosts={})
    assert "no host" in str(status(controller, "move").reason)
    hand.round()
    controller.network = there
    status(controller, "move")
    hand.round()
    assert hand.store.progress()["move"].carried_mbit == 400.0
    assert len(live(controller)) == 1


def test_one_change_as_a_whole_at_a_time() -> None:
    controller = lab()
    apply(controller, VIDEO)
    # The stitch that has to go first does not end, so that the change as a whole is not through.
    other = {"name": "other", "latency": {"between": ["h2", "h1"], "bandwidth": 1}}
    outcome = apply(controller, other, atomic=True)
    assert not outcome.done
    with pytest.raises(IntentsBusy):
        apply(controller, VIDEO)
    end(controller, controller.stitches[1])
    controller.intender.round()
    controller.intender.round()
    assert [key_of(stitch.vm_request)[0] for stitch in live(controller)] == ["other"]
    apply(controller, other)


def test_an_undone_change_leaves_what_was_there_before() -> None:
    controller = lab()
    apply(controller, KEEP)
    controller.add(Stitch(90, VmRequest(H1, H3, 1.0), State.UP, NOW_S, NOW_S))
    taken = {"name": "taken", "latency": {"between": ["h1", "h3"]}}
    with pytest.raises(IntentsUndone, match="'taken' cannot be had"):
        apply(controller, VIDEO, taken, atomic=True)
    controller.intender.round()
    assert live(controller) == []
    assert rules(controller) == ["intent/keep/from-blue", "intent/keep/from-red"]


def test_a_transfer_counts_what_was_carried_and_lets_go_when_it_is_done() -> None:
    controller = lab()
    ends = {"from": "h1", "to": "h2", "amount": "10 MB"}
    move = {"name": "move", "transfer": {**ends, "deadline": "16:00", "start": "14:00", "zone": "UTC"}}
    apply(controller, move)
    (stitch,) = live(controller)
    assert not stitch.vm_request.both_ways
    hand = controller.intender
    for _ in range(12):
        hand.now_s += 1.0
        hand.app.on_rates(RatesMeasured(Rates(hand.now_s, 1.0, demand_mbps={(H1, H2): 10.0, (H2, H1): 5.0})))
    assert hand.store.progress()["move"].carried_mbit >= 10.0
    hand.round()
    assert live(controller) == []
    assert "all was carried" in str(status(controller, "move").reason)


def test_a_transfer_is_placed_where_the_outlook_leaves_most_room() -> None:
    controller = lab()
    # The first link of its path is expected to carry 1 Mbit/s of its 10, and 1 more every five minutes.
    controller.day_outlook = day_outlook()
    ends = {"from": "h1", "to": "h2", "amount": "10 MB"}
    apply(controller, {"name": "move", "transfer": {**ends, "deadline": "16:00", "start": "14:00", "zone": "UTC"}})
    progress = controller.intender.store.progress()["move"]
    # Of n steps the last has 10 - n left: n * (10 - n) is most for five of them.
    assert (progress.begin_s, progress.end_s) == (NOW_S, NOW_S + 5 * 300)
    assert live(controller)[0].request.bandwidth_mbps == pytest.approx(1.1 * 80 / 1500, rel=1e-3)


def test_what_was_carried_is_known_after_a_restart() -> None:
    controller = lab()
    ends = {"from": "h1", "to": "h2", "amount": "1 GB"}
    apply(controller, {"name": "move", "transfer": {**ends, "deadline": "16:00", "start": "14:00", "zone": "UTC"}})
    (stitch,) = live(controller)
    controller.add(stitch.to(State.UP, NOW_S))
    hand = controller.intender
    hand.now_s += 20.0
    hand.app.on_rates(RatesMeasured(Rates(hand.now_s, 1.0, demand_mbps={(H1, H2): 400.0})))
    restart(controller)
    assert "5% carried" in str(status(controller, "move").reason)


def restart(controller: FakeController) -> None:
    """The app dies and is started again on what it had stored."""
    old = controller.intender
    controller.intender = HandIntender(old_ask(controller), old.now_s, old.store)


def old_ask(controller: FakeController) -> Any:
    return lambda name, request: controller.ask(name, request, 1.0)


class Crash(Exception):
    """The process ends here."""


_HOSTS = st.sampled_from(["h1", "h2", "h3"])
_INTENTS = st.lists(
    st.builds(
        lambda a, b, mbps, port: {"latency": {"between": [a, b], "bandwidth": mbps, "app": f"tcp/{port}"}},
        _HOSTS, _HOSTS, st.integers(1, 2), st.integers(1, 9),
    ) | st.just({"apart": ["red", "blue"]}),
    max_size=4,
)  # fmt: skip


class Life(RuleBasedStateMachine):
    """Documents come, stitches go, and the app dies at any question it asks: in the end all is as it is wanted."""

    @initialize()
    def begin(self) -> None:
        self.controller = lab()
        self.wanted: list[dict[str, Any]] = []

    @rule(forms=_INTENTS, crash_at=st.none() | st.integers(0, 8))
    def put(self, forms: list[dict[str, Any]], crash_at: int | None) -> None:
        """A document comes; the app may die while it applies it."""
        intents = [{"name": f"i{n}", **form} for n, form in enumerate(forms)]
        real = self.controller.intender.app._hands._ask
        left = crash_at

        def ask(name: str, request: Any) -> Any:
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    raise Crash
            return real(name, request)

        app = self.controller.intender.app
        app._ask = app._hands._ask = ask
        before = self.controller.intender.store.version()
        try:
            with suppress(ValueError):  # they contradict each other
                apply(self.controller, *intents)
                self.wanted = intents
        except Crash:
            newest = self.controller.intender.store.version()
            if newest != before:
                self.wanted = intents
            restart(self.controller)
        app._ask = app._hands._ask = real

    @rule(which=st.integers(0, 5))
    def delete(self, which: int) -> None:
        """Somebody deletes a stitch by hand."""
        there = live(self.controller)
        if there:
            end(self.controller, there[which % len(there)])

    @rule()
    def forget_rules(self) -> None:
        """Somebody puts a policy without the rules of intents."""
        self.controller.ask("Policing", PutPolicy({"rules": []}), 1.0)

    @invariant()
    def all_is_as_wanted(self) -> None:
        """After a few rounds, there is what is wanted, once, and nothing else of ours."""
        if not hasattr(self, "controller"):
            return
        for _ in range(4):
            for stitch in list(self.controller.stitches.values()):
                if stitch.state is State.TERMINATING:
                    end(self.controller, stitch)
                elif stitch.state is State.ESTABLISHING:
                    self.controller.add(replace(stitch, state=State.UP))
            self.controller.intender.now_s += 6.0
            status_of_all = self.controller.ask("Intender", IntentsRequest(), 1.0)
            self.controller.intender.round()
        there = [key_of(stitch.vm_request) for stitch in live(self.controller)]
        assert len(set(there)) == len(there)
        outcome = self.controller.ask("Intender", PlanIntents(IntentChange({"intents": self.wanted})), 1.0)
        refused = self.controller.intender.app._hands.refusals
        assert [step for step in outcome.plan.changes if step.key not in refused] == []
        assert {one.intent for one in status_of_all.statuses} == {one["name"] for one in self.wanted}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=8, deadline=None)
