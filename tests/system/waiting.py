"""Waiting for what has to come true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    within_s: float,
    otherwise: str | Callable[[], object],
    poll_s: float = 0.02,
) -> T:
    """Wait until a condition holds; returns what it returned. Fails with `otherwise` after within_s."""
    give_up_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > give_up_s:
            words = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"not within {within_s:g} s: {words}")
        time.sleep(poll_s)
    return value
