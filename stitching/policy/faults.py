"""What is wrong with a policy: where, in which field, why, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. where is a rule, group, case or zone, or the document."""

    where: str
    field: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.reason}; {self.remedy}"


class Refused(ValueError):
    """A field is not what it has to be."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.field, self.reason, self.remedy = field, reason, remedy


class PolicyError(ValueError):
    """A policy cannot be accepted."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        told = "; and ".join(str(fault) for fault in faults[:MOST_TOLD])
        more = len(faults) - MOST_TOLD
        super().__init__(told + (f"; and {more} more" if more > 0 else ""))
