"""Remembers what was read from bytes, for as many of them as can come: what a switch says may be of any length."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

Read = TypeVar("Read")

LONGEST = 512
"""Bytes; no rule of ours has half as many in its match or in what it does."""


def remembered(most: int) -> Callable[[Callable[[bytes], Read]], Callable[[bytes], Read]]:
    """Read no bytes twice, those that are too long to be kept aside."""

    def decorate(read: Callable[[bytes], Read]) -> Callable[[bytes], Read]:
        kept = lru_cache(maxsize=most)(read)

        @wraps(read)
        def reading(data: bytes) -> Read:
            return kept(data) if len(data) <= LONGEST else read(data)

        return reading

    return decorate
