"""What a document comes to on a fabric: stitches and policy rules, each a part of an intent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from stitching.intents.faults import Conflict
from stitching.intents.world import NAME_LABEL, PART_LABEL, Progress
from stitching.policy.faults import Fault
from stitching.stitch import StitchRequest

Key = tuple[str, str]
"""(intent, part): the same for the same thing, however often it is compiled."""

RULE_PREFIX = "intent/"
"""What the names of policy rules begin with that intents made. Nobody else may use it."""

Rule = Mapping[str, Any]
"""A rule as a policy document has it."""


@dataclass(frozen=True, slots=True)
class Note:
    """What there is to know of an intent beside its parts. missed: it is not, or cannot be, what was asked for."""

    intent: str
    words: str
    missed: bool = False


@dataclass(frozen=True)
class Wanted:
    """What there has to be. `shared` maps a part to the same stitch of another intent.

    unresolved are intents that mean nobody now: what they have is left as it is. patient are those that take what
    others leave.
    """

    stitches: Mapping[Key, StitchRequest] = field(default_factory=lambda: MappingProxyType({}))
    rules: Mapping[Key, Rule] = field(default_factory=lambda: MappingProxyType({}))
    shared: Mapping[Key, Key] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()
    faults: tuple[Fault, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    unresolved: frozenset[str] = frozenset()
    patient: frozenset[str] = frozenset()
    progress: Mapping[str, Progress] = field(default_factory=lambda: MappingProxyType({}))
    vnets: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def without(self, refused: Collection[Key]) -> Wanted:
        """The same but for parts that could not be had."""
        return replace(
            self,
            stitches={key: request for key, request in self.stitches.items() if key not in refused},
            rules={key: rule for key, rule in self.rules.items() if key not in refused},
        )


def key_of(request: StitchRequest) -> Key:
    """The intent and part that a stitch says it is."""
    labels = dict(request.labels)
    return labels.get(NAME_LABEL, ""), labels.get(PART_LABEL, "")


def rule_name(key: Key) -> str:
    """What the policy rule of a part is called."""
    return f"{RULE_PREFIX}{key[0]}/{key[1]}"


def rule_key(name: str) -> Key | None:
    """The part that a policy rule of this name is of; None where it is of no intent."""
    intent, _, part = name.removeprefix(RULE_PREFIX).partition("/")
    return (intent, part) if name.startswith(RULE_PREFIX) else None
