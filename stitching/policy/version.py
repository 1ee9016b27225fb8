"""A version of the policy, as it is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """The document as it was given, in JSON; created_s is in seconds since the epoch."""

    version: int
    created_s: float
    document: str = "{}"
