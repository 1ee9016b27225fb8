"""What separates what a switch has from what it should have, and the steps that close it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stitching.rules import Entry, FlowRule, RuleSet, StrayRule


class Change(NamedTuple):
    """One step on one switch: put an entry there (replacing the one of the same key) or remove it."""

    dpid: int
    entry: Entry
    remove: bool = False


Stage = tuple[Change, ...]
"""Changes that are sent in this order to each switch; the next stage starts when every switch has confirmed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What separates a switch from what it should have."""

    missing: tuple[Entry, ...] = ()
    wrong: tuple[Entry, ...] = ()
    excess: tuple[Entry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.wrong or self.excess)

    def changes(self, dpid: int) -> tuple[Change, ...]:
        """The steps that close the difference: what is added or put right first, then what goes.

        A rule may only name a group or meter that is there: those come before all rules and leave after them.
        """
        put = sorted((*self.missing, *self.wrong), key=_is_rule)
        gone = sorted(self.excess, key=_is_rule, reverse=True)
        return (*(Change(dpid, entry) for entry in put), *(Change(dpid, entry, remove=True) for entry in gone))


def diff(has: RuleSet, wants: RuleSet) -> Difference:
    """Compare what a switch has with what it should have; a right entry is in neither answer.

    wrong holds the wanted version of entries that differ in more than their key.
    """
    missing = tuple(entry for key, entry in wants.items() if key not in has)
    wrong = tuple(entry for key, entry in wants.items() if key in has and has[key] != entry)
    excess = tuple(entry for key, entry in has.items() if key not in wants)
    return Difference(missing, wrong, excess)


def in_order(changes: Sequence[Change]) -> Stage:
    """Changes in an order in which a switch can take them: groups and meters around the rules that name them."""
    named_put: list[Change] = []
    rules_put: list[Change] = []
    rules_gone: list[Change] = []
    named_gone: list[Change] = []
    for change in changes:
        if isinstance(change.entry, FlowRule):
            (rules_gone if change.remove else rules_put).append(change)
        else:
            (named_gone if change.remove else named_put).append(change)
    return (*named_put, *rules_put, *rules_gone, *named_gone)


def _is_rule(entry: Entry) -> bool:
    return isinstance(entry, FlowRule | StrayRule)
