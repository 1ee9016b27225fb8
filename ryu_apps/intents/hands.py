"""Carries out the steps of a plan by asking the apps that own stitches and the policy.

Every step may be done twice: what is there already is found by its labels, or by the name of its rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pathing import Oversubscribed
from ryu_apps.app import Request
from ryu_apps.events import (
    ChangeStitch,
    CheckStitch,
    CreateStitches,
    DeleteStitch,
    PolicyMoved,
    PolicyRequest,
    PutPolicy,
)
from ryu_apps.store import StoreError
from stitching.intents.planning import Action, Step, Thing
from stitching.intents.wanted import Key, Rule, rule_key
from stitching.intents.world import is_ours
from stitching.kinds import rivals
from stitching.plan import NotPossible
from stitching.policy.faults import PolicyError
from stitching.stitch import BadTransition, BandwidthRequest, State, Stitch

Answer = TypeVar("Answer")

RETRY_S = 5.0
"""What was refused is tried again after so long."""

MOST_AT_ONCE = 50
"""Steps of one round: between two rounds questions are answered."""

CHECK_S = 1.0
"""How long the stitches of a plan are tried out: whoever asked for the plan waits."""

_ON_THE_WAY = frozenset({State.ESTABLISHING, State.ADJUSTING, State.TERMINATING})
_LATER = (LookupError, TimeoutError)
_REFUSALS = (NotPossible, Oversubscribed, StoreError)
_NOTHING: dict[str, Any] = {}


class Ask(Protocol):
    """Asks an app by name: `ryu_apps.app.ask`, or a fake."""

    def __call__(self, name: str, request: Request[Answer], /) -> Answer:
        """The app's answer."""
        ...


class Hands:
    """Does what plans say, and remembers what could not be had, by part."""

    def __init__(self, ask: Ask, monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._refused: dict[Key, tuple[str, float]] = {}
        self._policy: tuple[int, dict[str, Any]] = (0, _NOTHING)

    @property
    def refusals(self) -> Mapping[Key, str]:
        """Why parts could not be had."""
        return {key: reason for key, (reason, _) in self._refused.items()}

    def forget(self) -> None:
        """What was refused may be tried again at once."""
        self._refused.clear()

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Nobody wants other parts any more, so it does not matter why they could not be had."""
        wanted = set(keys)
        self._refused = {key: refused for key, refused in self._refused.items() if key in wanted}

    # -- the policy -----------------------------------------------------------------------------------------

    def rules(self) -> dict[Key, Rule]:
        """The rules of intents that the policy has."""
        newest = self._ask("Policing", PolicyRequest())
        if newest is None:
            self._policy = 0, _NOTHING
        elif newest.version != self._policy[0]:
            self._policy = newest.version, json.loads(newest.document)
        listed = self._policy[1].get("rules") or []
        return {key: rule for rule in listed if (key := rule_key(str(rule["name"]))) is not None}

    def document(self, wanted: Mapping[Key, Rule]) -> dict[str, Any]:
        """The policy with these rules of intents and no others of theirs.

        What denies comes first and what allows last: people's own rules are never made to let more through.
        """
        document = self._policy[1]
        others = [rule for rule in document.get("rules") or [] if rule_key(str(rule["name"])) is None]
        ours = [dict(wanted[key]) for key in sorted(wanted)]
        denied = [rule for rule in ours if rule["action"] == "deny"]
        allowed = [rule for rule in ours if rule["action"] != "deny"]
        return {**document, "rules": [*denied, *others, *allowed]}

    def put_rules(self, steps: Iterable[Step], wanted: Mapping[Key, Rule]) -> bool:
        """Change the policy where a step does; whether that was done, or there was nothing to do."""
        keys = [step.key for step in steps if step.thing is Thing.RULE and step.action is not Action.KEEP]
        if not keys:
            return True
        if any(self._waits(key) for key in keys):
            return False
        try:
            self._ask("Policing", PutPolicy(self.document(wanted), after=self._policy[0]))
        except (PolicyError, StoreError) as error:
            for key in keys:
                self._refuse(key, f"the policy cannot be changed: {error}")
            return False
        except (*_LATER, PolicyMoved):
            return False
        for key in keys:
            self._refused.pop(key, None)
        return True

    # -- stitches -------------------------------------------------------------------------------------------

    def do(self, steps: Iterable[Step], stitches: Sequence[Stitch], *, whole: bool) -> int:
        """Carry out steps about stitches, so many at a time, given all stitches; how many were tried.

        What goes makes room before anything is made: where steps belong together as a whole, all of it.
        """
        due = [step for step in steps if step.thing is Thing.STITCH and step.action is not Action.KEEP]
        due = [step for step in due if not self._waits(step.key)][:MOST_AT_ONCE]
        states = {stitch.id: stitch.state for stitch in stitches}
        tried = 0
        for step in due:
            if step.action is Action.DELETE and step.stitch_id is not None:
                self._delete(step.stitch_id)
                tried += 1
            elif step.action is Action.CHANGE and step.stitch_id is not None:
                tried += self._change(step, states.get(step.stitch_id))
        going = [stitch for stitch in stitches if is_ours(stitch) and stitch.state is State.TERMINATING]
        creations = [
            step
            for step in due
            if step.action is Action.CREATE and step.request is not None
            if not (whole and (tried or going)) and not rivals(step.request, going)
        ]
        if creations:
            self._create(creations)
        return tried + len(creations)

    def impossible(self, steps: Iterable[Step]) -> dict[Key, str]:
        """Why stitches that are to be made could not be had now, as far as that is found out in CHECK_S."""
        found = {}
        until_s = self._monotonic() + CHECK_S
        for step in steps:
            if step.request is None or self._monotonic() > until_s:
                continue
            try:
                self._ask("Stitcher", CheckStitch(step.request))
            except NotPossible as error:
                # A rate waits until its hosts may talk: other steps may let them.
                if not (isinstance(step.request, BandwidthRequest) and error.field == "destination"):
                    found[step.key] = str(error)
            except _LATER:
                break
        return found

    def _change(self, step: Step, state: State | None) -> bool:
        """Give a stitch other terms, now or once it is on its way no more. Whether it was tried."""
        assert step.stitch_id is not None and step.request is not None  # what a change is
        if state in _ON_THE_WAY:
            return False
        try:
            self._ask("Stitcher", ChangeStitch(step.stitch_id, step.request))
            self._refused.pop(step.key, None)
        except _REFUSALS as error:
            self._refuse(step.key, str(error))
        except (*_LATER, BadTransition):
            return False
        return True

    def _delete(self, stitch_id: int) -> None:
        try:
            self._ask("Stitcher", DeleteStitch(stitch_id))
        except (*_LATER, BadTransition, StoreError):
            return

    def _create(self, steps: list[Step]) -> None:
        requests = tuple(step.request for step in steps if step.request is not None)
        try:
            answers = self._ask("Stitcher", CreateStitches(requests))
        except _LATER:
            return
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(answer, Exception):
                self._refuse(step.key, str(answer))
            else:
                self._refused.pop(step.key, None)

    def _refuse(self, key: Key, reason: str) -> None:
        self._refused[key] = reason, self._monotonic() + RETRY_S

    def _waits(self, key: Key) -> bool:
        return key in self._refused and self._monotonic() < self._refused[key][1]
