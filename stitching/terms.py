"""What can be asked of a stitch of any kind, beside what it joins and how much it carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stitching.validity import ALWAYS, Validity


class Protection(StrEnum):
    """What may die on a path while its traffic goes on: nothing, any link, or any link or switch in between."""

    NONE = "none"
    LINK = "link"
    NODE = "node"


LEAST_PRIORITY, PRIORITY, MOST_PRIORITY = 0, 3, 7


@dataclass(frozen=True, slots=True)
class Expectation:
    """What has to be forecast for a stitch to be made: more than threshold_mbps with this probability."""

    threshold_mbps: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for every kind. max_loss is a share of packets; labels are (name, value), in order of name.

    Where capacity shrinks, those of lower priority give way first. What expects something is made when that is
    forecast, and let go when it is not. encrypted: only links that are may carry it.
    """

    max_latency_ms: float | None = None
    max_loss: float | None = None
    protection: Protection = Protection.NONE
    labels: tuple[tuple[str, str], ...] = ()
    origin: str = "api"
    priority: int = PRIORITY
    valid: Validity = ALWAYS
    expects: Expectation | None = None
    encrypted: bool = False
