"""Whether a meter does what it is there for, by what it counts; and what is said of a stitch with two promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SENDS_MBPS = 0.05
"""Hosts that send less than this need not be seen by a meter within a period."""

STILL = 3
"""A meter that counts nothing in so many periods in which its hosts send enforces nothing."""

Verdict = tuple[str, str]
"""By what a promise is enforced (`meter`, `queue` or `none`), and why that is said."""

MeterId = tuple[int, int]
"""A meter: (dpid, number)."""


@dataclass
class MeterWatch:
    """Follows the counters of meters, period by period."""

    _counts: dict[MeterId, int] = field(default_factory=dict)
    _still: dict[MeterId, int] = field(default_factory=dict)
    _seen: set[MeterId] = field(default_factory=set)

    def counted(self, packets: Mapping[MeterId, int], demand_mbps: Mapping[MeterId, float]) -> None:
        """Take in what the meters counted so far, and what their hosts sent in this period."""
        for meter, sent_mbps in demand_mbps.items():
            now = packets.get(meter)
            before = self._counts.get(meter)
            if now is None:
                continue
            self._counts[meter] = now
            if before is not None and now != before:
                # A meter that was changed begins at 0.
                self._seen.add(meter)
                self._still.pop(meter, None)
            elif before is not None and sent_mbps > SENDS_MBPS:
                self._still[meter] = self._still.get(meter, 0) + 1
        for gone in [meter for meter in self._counts if meter not in demand_mbps]:
            del self._counts[gone]
            self._still.pop(gone, None)
            self._seen.discard(gone)

    def verdict(self, meters: tuple[MeterId, ...]) -> Verdict:
        """What enforces a cap, `meter` or `none`, and why that is said."""
        for meter in meters:
            if self._still.get(meter, 0) >= STILL:
                return "none", f"the meter at switch {meter[0]:016x} counts nothing while its hosts send"
        seen = sum(meter in self._seen for meter in meters)
        if not seen:
            return "meter", "no packet has met a meter of it yet"
        return "meter", f"meters count what is sent, at {seen} of {len(meters)} switches so far"


@dataclass(frozen=True)
class Together:
    """What is said of a stitch: by what its one promise is enforced, or its guarantee where it has a cap too."""

    by: str
    why: str
    cap_by: str | None = None
    """By what the cap is enforced, where both are asked for: one of them may fail while the other works."""


def together(cap: Verdict | None, guarantee: Verdict | None) -> Together:
    """What is said of a stitch with a cap, a guarantee, both or neither."""
    if cap is None or guarantee is None:
        return Together(*(cap or guarantee or ("none", "no bandwidth is promised to it")))
    why = f"guarantee ({guarantee[0]}): {guarantee[1]}; cap ({cap[0]}): {cap[1]}"
    return Together(guarantee[0], why, cap[0])
