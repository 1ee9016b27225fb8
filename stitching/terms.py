"""What can be asked of a stitch of any kind, beside what it joins and how much it carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Protection(StrEnum):
    """What may die on a path while its traffic goes on: nothing, any link, or any link or switch in between."""

    NONE = "none"
    LINK = "link"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for every kind. max_loss is a share of packets; labels are (name, value), in order of name."""

    max_latency_ms: float | None = None
    max_loss: float | None = None
    protection: Protection = Protection.NONE
    labels: tuple[tuple[str, str], ...] = ()
    origin: str = "api"
