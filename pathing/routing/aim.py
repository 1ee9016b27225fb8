"""What column generation is after: its aim, points of the dual, and what is proven in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pathing.csr import FloatArray
from pathing.routing.levels import Levels


@dataclass(frozen=True, slots=True)
class Aim:
    """What is minimised, and when it is good enough.

    `moved_limit` is the most Mbit/s (of the first matrix) that may leave the base paths, None for no limit.
    """

    levels: Levels
    mean_weight: float
    gap: float
    moved_limit: float | None = None


class Duals(NamedTuple):
    """A point of the dual: weights of the links (K, n_links) as `Levels.normalised`, and the price of moving."""

    weights: FloatArray
    moved: float

    def smoothed(self, best: Duals, share: float) -> Duals:
        """Give the point that lies this share of the way to the best one (Wentges 1997)."""
        return Duals(
            share * best.weights + (1 - share) * self.weights, share * best.moved + (1 - share) * self.moved
        )


class Generated(NamedTuple):
    """What is proven where the generation ended."""

    bound: float  # on the cost of the levels alone
    closed: bool  # whether the gap is
    solved: bool  # whether there is a solution at all
