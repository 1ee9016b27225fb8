"""What the intender is asked: which intents there are, and to change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ryu_apps.app import Request
from stitching.intents.judging import Status
from stitching.intents.planning import Plan
from stitching.intents.version import IntentVersion
from stitching.intents.wanted import Key, Note
from stitching.terms import MOST_PRIORITY


@dataclass(frozen=True)
class IntentsAnswer:
    """The intents as they are: the version, the document as it was given, and how each of them does, by name."""

    version: IntentVersion
    document: Mapping[str, Any]
    statuses: tuple[Status, ...]


@dataclass
class IntentsRequest(Request[IntentsAnswer]):
    """Which intents are there, and how do they do?"""


@dataclass
class IntentVersionsRequest(Request[tuple[IntentVersion, ...]]):
    """Which versions of the intents are there? The newest first."""


@dataclass(frozen=True, slots=True)
class IntentChange:
    """A change of the intents: of one where `only` names it, else of all that the caller may touch.

    document is what is to be, in the one case an intent (None takes it out), in the other a document; or that of a
    version. scope: the virtual networks that the caller is confined to. may_rule: whether the caller may change
    the policy. max_priority: the greatest that the caller's stitches may have.
    """

    document: object = None
    only: str | None = None
    version: int | None = None
    scope: frozenset[str] | None = None
    may_rule: bool = True
    max_priority: int = MOST_PRIORITY


@dataclass(frozen=True)
class IntentOutcome:
    """What a change does: its plan, what there is to know beside it, and which parts could not be had, by reason.

    version is None where it was only asked. done: nothing is left to do but what could not be had.
    """

    plan: Plan
    notes: tuple[Note, ...] = ()
    refusals: Mapping[Key, str] = field(default_factory=dict)
    version: IntentVersion | None = None
    done: bool = True
    vnets: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass
class PlanIntents(Request[IntentOutcome]):
    """What would this change do? Raises IntentError, OutOfScope, and LookupError for what is not there."""

    change: IntentChange


@dataclass
class ApplyIntents(Request[IntentOutcome]):
    """Store this change, then make it so. Raises what PlanIntents does, and IntentsBusy.

    With atomic, what cannot be had undoes all of it and raises IntentsUndone.
    """

    change: IntentChange
    atomic: bool = False


class OutOfScope(PermissionError):
    """The caller may not touch this; the message says what."""


class PriorityTooGreat(PermissionError):
    """The caller may have no stitch of this priority."""

    def __init__(self, intent: str, priority: int) -> None:
        super().__init__(f"the intent {intent!r} asks for a stitch of priority {priority}")
        self.priority = priority


class IntentsBusy(RuntimeError):
    """Another change of the intents has to be through first."""


class IntentsUndone(RuntimeError):
    """A part could not be had, so that all of the change was undone."""
