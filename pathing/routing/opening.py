"""First prices for the links, from a few steps of a first-order method that spreads all demands at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pathing.csr import FloatArray
from pathing.routing.deadline import Deadline
from pathing.routing.pricing import Cheapest, Pricing

_STEPS = np.linspace(0.05, 1.0, 20)
_FIRST_SHARPNESS = 10.0


class Opening(NamedTuple):
    """Weights of the links, (K, n_links), that add up to 1 and are high where it is tight."""

    weights: FloatArray
    bound: float  # on the least maximum utilisation
    use: FloatArray  # (K, n_links), utilisation that the method has reached


def opening(pricing: Pricing, tie_break: FloatArray, rounds: int, deadline: Deadline) -> Opening:
    """Weigh the links by how they fill when all demands keep following the cheapest paths.

    Frank-Wolfe on the soft maximum of the utilisations. `tie_break` (K, n_links) is added to the prices. The
    weights given are the mean over the rounds: single ones swing, their mean gives a far better bound. Bienstock,
    "Potential function methods for approximately solving linear programming problems", 2002.
    """
    use = _use(pricing, pricing.cheapest(tie_break))
    mean = np.zeros_like(use)
    for step in range(1, rounds + 1):
        highest = float(use.max())
        if highest <= 0 or deadline.passed():
            break
        sharpness = (_FIRST_SHARPNESS + step) / highest
        weights = np.exp(sharpness * (use - highest))
        weights /= weights.sum()
        mean += (weights - mean) * (2 / (step + 1))
        to = _use(pricing, pricing.cheapest(weights + tie_break))
        shares = _STEPS * min(1.0, 3.0 / step)
        tried = use + shares[:, None, None] * (to - use)
        peaks = tried.max(axis=(1, 2))
        soft = peaks + np.log(np.exp(sharpness * (tried - peaks[:, None, None])).sum(axis=(1, 2))) / sharpness
        use = tried[int(soft.argmin())]
    total = float(mean.sum())
    if total <= 0:
        return Opening(np.full_like(use, 1.0 / use.size), 0.0, use)
    return Opening(mean / total, pricing.bound(mean), use)


def _use(pricing: Pricing, cheapest: Cheapest) -> FloatArray:
    return pricing.loads(cheapest) / pricing.network.capacity_mbps
