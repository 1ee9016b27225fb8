"""Which intents a caller may touch who is confined to some virtual networks."""

from __future__ import annotations

from collections.abc import Collection

from ryu_apps.events import OutOfScope, PriorityTooGreat
from stitching.intents.document import Document
from stitching.intents.faults import Conflict
from stitching.intents.planning import Action, Plan
from stitching.intents.wanted import Wanted
from stitching.terms import PRIORITY


def outside(scope: frozenset[str] | None, document: Document, wanted: Wanted) -> frozenset[str]:
    """The names of intents that are not the caller's: about another network, or about nobody that is known."""
    if scope is None:
        return frozenset()
    names = (intent.name for intent in document.intents)
    return frozenset(name for name in names if not is_within(scope, wanted.vnets.get(name)))


def is_within(scope: frozenset[str] | None, vnets: frozenset[str] | None) -> bool:
    """Whether an intent about these virtual networks (None: not known) is the caller's."""
    return scope is None or (vnets is not None and vnets <= scope)


def check_scope(scope: frozenset[str] | None, names: Collection[str], wanted: Wanted) -> None:
    """Raise OutOfScope where the caller would have an intent about networks that are none of theirs."""
    for name in sorted(names):
        vnets = wanted.vnets.get(name)
        # One that means nobody is told as what is wrong with it.
        if scope is not None and vnets is not None and not vnets <= scope:
            raise OutOfScope(f"the intent {name!r} is about hosts outside the scope of the token")


def check_priorities(most: int, planned: Plan, about: Collection[str], unresolved: Collection[str]) -> None:
    """Raise PriorityTooGreat where an intent would make or change a stitch that is too important for the caller.

    One that means nobody yet (unresolved) would do so later, when nobody asks.
    """
    if most < PRIORITY and (later := sorted({*about} & {*unresolved})):
        raise PriorityTooGreat(later[0], PRIORITY)
    for step in planned.of(Action.CREATE, Action.CHANGE):
        if step.request is not None and step.key[0] in about and step.request.priority > most:
            raise PriorityTooGreat(step.key[0], step.request.priority)


def hidden(conflict: Conflict, kept: Collection[str]) -> Conflict:
    """A conflict without what the caller may not see."""
    names = tuple(name for name in conflict.intents if name not in kept)
    if len(names) == len(conflict.intents):
        return conflict
    return Conflict(names, "it contradicts an intent that is not yours", "ask somebody whose token has no scope")
