"""What is measured of a tunnel, smoothed, and how much of it costs how much."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of a tunnel as one end sees it, `out` being away from it. None: not measured, not taken for good."""

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss_out: float | None = None
    loss_in: float | None = None
    at_s: float = 0.0

    def turned(self) -> Measured:
        """The same, seen from the other end."""
        return Measured(self.rtt_ms, self.jitter_ms, self.loss_in, self.loss_out, self.at_s)


UNMEASURED = Measured()


def smoothed(before: Measured | None, sample: Measured, half_life_s: float = 4.0) -> Measured:
    """An exponential average over time: a sample counts half as much after each `half_life_s`.

    What was not measured this time stays as it was. Samples that come late (clock set back) count as of now.
    """
    if before is None:
        return sample
    keep = 0.5 ** (max(0.0, sample.at_s - before.at_s) / half_life_s)

    def mixed(old: float | None, new: float | None) -> float | None:
        if old is None or new is None:
            return old if new is None else new
        return float(keep * old + (1 - keep) * new)

    return Measured(
        mixed(before.rtt_ms, sample.rtt_ms),
        mixed(before.jitter_ms, sample.jitter_ms),
        mixed(before.loss_out, sample.loss_out),
        mixed(before.loss_in, sample.loss_in),
        max(before.at_s, sample.at_s),
    )


def rtt_cost(rtt_ms: float, least_ms: float, most_ms: float) -> float:
    """A round trip as a cost from 0 to 1: 0 up to `least_ms`, 1 from `most_ms`, linear between (RFC 9616).

    Bounded, so that no delay however long outweighs everything; flat at the bottom, so that nothing moves for a
    millisecond.
    """
    return min(1.0, max(0.0, (rtt_ms - least_ms) / (most_ms - least_ms)))


def loss_cost(loss: float, most: float) -> float:
    """A share of lost packets as a cost from 0 to 1, additive along a way until it is `most` and more."""
    return min(1.0, -math.log(max(LEAST_SHARE, 1.0 - loss)) / -math.log(1.0 - most))


def joined_loss(*shares: float) -> float:
    """What is lost along a way whose parts lose these shares, each on its own."""
    return 1.0 - math.prod(1.0 - share for share in shares)
