"""A version of the intents, as it is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IntentVersion:
    """The document as it was given, in JSON; created_s is in seconds since the epoch; note says where it is from.

    settled: all that can be done about it was done once. atomic: until then, what cannot be had undoes it.
    """

    version: int
    created_s: float
    document: str = '{"intents":[]}'
    note: str = ""
    atomic: bool = False
    settled: bool = False
