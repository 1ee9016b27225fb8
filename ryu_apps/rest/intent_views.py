"""Intents, their plans and their versions as the API shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from ryu_apps.events import IntentOutcome, IntentsAnswer
from ryu_apps.rest.views import moment
from stitching.intents.document import FORMS
from stitching.intents.editing import items_of
from stitching.intents.judging import Carrier, Status
from stitching.intents.planning import Action, Step
from stitching.intents.version import IntentVersion
from stitching.intents.wanted import Key


class CarrierView(BaseModel):
    """What carries a part of an intent: a stitch, or a rule of the policy."""

    part: str
    stitch: int | None
    rule: str | None
    state: str


class IntentView(BaseModel):
    """An intent, whether it has what it asks for, and what carries it."""

    name: str
    kind: str
    state: Literal["satisfied", "pending", "violated"]
    reason: str | None
    carriers: list[CarrierView]
    intent: dict[str, Any] = Field(description="As it was given.")


class IntentsView(BaseModel):
    """All intents that the caller sees; version 0: there never were any."""

    version: int
    settled: bool = Field(description="All that can be done about this version was done once.")
    note: str
    intents: list[IntentView]


class IntentVersionView(BaseModel):
    """A version of the intents."""

    version: int
    created: datetime
    note: str
    atomic: bool
    settled: bool
    intents: int


class StepView(BaseModel):
    """One thing that has to be done, and why. drift: not the document changed, but what is there."""

    action: Literal["create", "change", "delete", "keep"]
    thing: Literal["stitch", "rule"]
    intent: str
    part: str
    what: str
    reason: str
    stitch: int | None
    drift: bool
    refused: str | None = Field(description="Why it could not be had.")


class NoteView(BaseModel):
    """What there is to know of an intent. missed: it is not, or cannot be, what is asked for."""

    intent: str
    words: str
    missed: bool


class IntentPlanView(BaseModel):
    """What a document changes. version: what it is now; none where it was only asked.

    done: nothing is left to do but what was refused; without it, the rest is on its way.
    """

    version: int | None
    done: bool
    creates: int
    changes: int
    deletes: int
    keeps: int
    steps: list[StepView]
    notes: list[NoteView]


def intents_view(answer: IntentsAnswer, statuses: list[Status]) -> IntentsView:
    """The intents of these statuses."""
    items = items_of(answer.document)
    views = [intent_view(status, items[status.intent]) for status in statuses]
    version = answer.version
    return IntentsView(version=version.version, settled=version.settled, note=version.note, intents=views)


def intent_view(status: Status, item: dict[str, Any]) -> IntentView:
    """One intent."""
    return IntentView(
        name=status.intent,
        kind=next(kind for kind in FORMS if kind in item),
        state=status.standing.value,
        reason=status.reason,
        carriers=[_carrier(carrier) for carrier in status.carriers],
        intent=item,
    )


def plan_view(outcome: IntentOutcome, *, within: frozenset[str] | None) -> IntentPlanView:
    """A plan; of notes those of intents that are within the scope of the caller."""
    steps = [_step(step, outcome.refusals) for step in outcome.plan.steps]
    counts = {action: len(outcome.plan.of(action)) for action in Action}
    notes = [
        NoteView(intent=note.intent, words=note.words, missed=note.missed)
        for note in outcome.notes
        if within is None or outcome.vnets.get(note.intent, frozenset({""})) <= within
    ]
    return IntentPlanView(
        version=outcome.version.version if outcome.version is not None else None,
        done=outcome.done,
        creates=counts[Action.CREATE],
        changes=counts[Action.CHANGE],
        deletes=counts[Action.DELETE],
        keeps=counts[Action.KEEP],
        steps=steps,
        notes=notes,
    )


def version_view(version: IntentVersion) -> IntentVersionView:
    """A version without its document."""
    return IntentVersionView(
        version=version.version,
        created=moment(version.created_s),
        note=version.note,
        atomic=version.atomic,
        settled=version.settled,
        intents=len(items_of(json.loads(version.document))),
    )


def _carrier(carrier: Carrier) -> CarrierView:
    return CarrierView(part=carrier.part, stitch=carrier.stitch_id, rule=carrier.rule, state=carrier.state)


def _step(step: Step, refusals: Mapping[Key, str]) -> StepView:
    return StepView(
        action=step.action.value,
        thing=step.thing.value,
        intent=step.key[0],
        part=step.key[1],
        what=step.words,
        reason=step.reason,
        stitch=step.stitch_id,
        drift=step.drift,
        refused=refusals.get(step.key),
    )
