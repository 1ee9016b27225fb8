"""What is wrong with a document of intents, and which intents contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stitching.policy.faults import MOST_TOLD, Fault


@dataclass(frozen=True, slots=True)
class Conflict:
    """Intents, by name, that cannot all be had; why, and what would help."""

    intents: tuple[str, ...]
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{' and '.join(map(repr, self.intents))}: {self.reason}; {self.remedy}"


class IntentError(ValueError):
    """A document cannot be accepted: faults of single intents, and conflicts between them."""

    def __init__(self, faults: Sequence[Fault] = (), conflicts: Sequence[Conflict] = ()) -> None:
        self.faults, self.conflicts = tuple(faults), tuple(conflicts)
        told = [str(one) for one in (*faults, *conflicts)]
        more = len(told) - MOST_TOLD
        super().__init__("; and ".join(told[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else ""))


def where(intent: str) -> str:
    """How a fault says which intent it is in."""
    return f"intent {intent!r}"
