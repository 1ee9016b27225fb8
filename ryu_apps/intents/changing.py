"""What a change makes of the intents, and what it would do: worked out before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ryu_apps.events import IntentChange, IntentOutcome, OutOfScope
from ryu_apps.intents.scoping import check_priorities, check_scope, hidden, outside
from stitching.intents.compiling import compile_document
from stitching.intents.document import Document
from stitching.intents.editing import Raw, with_all, with_one, without
from stitching.intents.faults import IntentError, where
from stitching.intents.planning import Actual, Plan, Thing, plan
from stitching.intents.reading import read_document
from stitching.intents.version import IntentVersion
from stitching.intents.wanted import Key, Rule
from stitching.intents.world import World


@dataclass(frozen=True)
class Present:
    """The intents as they are, and what there is; version gives one that is kept."""

    raw: Raw
    document: Document
    world: World
    rules: Mapping[Key, Rule]
    refusals: Mapping[Key, str]
    version: Callable[[int], IntentVersion | None]


def judged(change: IntentChange, present: Present) -> tuple[Raw, IntentOutcome]:
    """The document after a change, and what that does.

    Raises IntentError, OutOfScope, PriorityTooGreat, and LookupError where what is to be changed is not there.
    """
    before = compile_document(present.document, present.world)
    kept = outside(change.scope, present.document, before)
    raw = changed(change, present, kept)
    document = read_document(raw)
    wanted = compile_document(document, present.world)
    names = {intent.name for intent in (*document.intents, *present.document.intents)}
    about = frozenset({change.only} if change.only is not None else names - kept)
    check_scope(change.scope, about, wanted)
    # What others want and cannot have is not the fault of this change.
    faults = [fault for fault in wanted.faults if fault.where in map(where, about)]
    conflicts = [hidden(conflict, kept) for conflict in wanted.conflicts if about & set(conflict.intents)]
    if faults or conflicts:
        raise IntentError(faults, conflicts)
    had = before.without(present.refusals)
    planned = plan(wanted, Actual(present.world.stitches, present.rules, had, present.world.names))
    waiting = {key for key in present.refusals if key[0] not in about}
    shown = Plan(tuple(step for step in planned.steps if step.key[0] not in kept and step.key not in waiting))
    if not change.may_rule and any(step.thing is Thing.RULE and step.key[0] in about for step in shown.changes):
        raise OutOfScope("it changes the policy, which takes an admin")
    check_priorities(change.max_priority, shown, about, wanted.unresolved)
    notes = tuple(note for note in wanted.notes if note.intent not in kept)
    return raw, IntentOutcome(shown, notes, vnets={**before.vnets, **wanted.vnets})


def changed(change: IntentChange, present: Present, kept: frozenset[str]) -> Raw:
    """The document after a change; `kept` are the intents that the caller may not touch."""
    if change.version is not None:
        version = present.version(change.version)
        if version is None:
            raise LookupError(f"there is no version {change.version} of the intents, or it is no longer kept")
        return with_all(present.raw, json.loads(version.document), kept)
    if change.only is None:
        return with_all(present.raw, change.document, kept)
    if change.document is not None:
        return with_one(present.raw, change.only, change.document, kept)
    if change.only in kept or present.document.named(change.only) is None:
        raise LookupError(f"there is no intent {change.only!r}")
    return without(present.raw, change.only)
