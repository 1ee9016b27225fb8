"""Waiting in labs for what has to come true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mininet_topos.handles import LabError

T = TypeVar("T")


class NotInTime(LabError):
    """What was waited for has not come true."""


def wait_until(
    condition: Callable[[], T | None], within_s: float, otherwise: Callable[[], object], every_s: float = 0.02
) -> T:
    """Wait until a condition holds; returns what it returned. Raises NotInTime, with `otherwise`."""
    give_up_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > give_up_s:
            raise NotInTime(f"not within {within_s:g} s: {otherwise()}")
        time.sleep(every_s)
    return value
