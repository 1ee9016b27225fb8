"""Which intents a caller may touch who is confined to some virtual networks."""

from __future__ import annotations

from collections.abc import Collection

from ryu_apps.events import OutOfScope
from stitching.intents.document import Document
from stitching.intents.faults import Conflict
from stitching.intents.wanted import Wanted


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


def hidden(conflict: Conflict, kept: Collection[str]) -> Conflict:
    """A conflict without what the caller may not see."""
    names = tuple(name for name in conflict.intents if name not in kept)
    if len(names) == len(conflict.intents):
        return conflict
    return Conflict(names, "it contradicts an intent that is not yours", "ask somebody whose token has no scope")
