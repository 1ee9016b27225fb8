"""?wait=up and ?wait_s=: how long an answer about a stitch is held back until the data plane carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Query

WAIT_S = 30.0
"""How long `wait=up` waits."""


@dataclass(frozen=True, slots=True)
class Wait:
    """up: the caller wants to know whether it came up; within_s: it is answered after so long at the latest."""

    up: bool
    within_s: float


def _wait(
    wait: Annotated[
        Literal["up"] | None, Query(description="Answer when the data plane carries what was asked for.")
    ] = None,
    wait_s: Annotated[
        float | None, Query(ge=0, le=30, allow_inf_nan=False, description="Answer after so many seconds at most.")
    ] = None,
) -> Wait:
    default_s = 0.0 if wait is None else WAIT_S
    return Wait(wait is not None, default_s if wait_s is None else wait_s)


WaitOf = Annotated[Wait, Depends(_wait)]
