"""Whose an answer of a switch is: every app hears of every answer, and knows its own by the transaction id."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import IntEnum


class Asker(IntEnum):
    """The first byte of the transaction ids of each app that asks switches."""

    INSTALLER = 0x49
    OFCTL = 0x52
    NAMEPLATE = 0x4E
    TELEMETRY = 0x54
    CAPABILITY = 0x7C
    LAST_COUNTS = 0x4C


class Transactions(Iterator[int]):
    """Transaction ids of one app, each once in 16 million."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        first = asker << 24
        self._xids = itertools.cycle(range(first, first + (1 << 24)))

    def __next__(self) -> int:
        return next(self._xids)

    def owns(self, xid: int) -> bool:
        """Whether an id is one of these."""
        return xid >> 24 == self._asker
