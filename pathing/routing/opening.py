"""First prices for the links, from a few steps of a first-order method that spreads all demands at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pathing.csr import FloatArray
from pathing.routing.deadline import Deadline
from pathing.routing.levels import Levels
from pathing.routing.pricing import Cheapest, Pricing

_STEPS = np.linspace(0.05, 1.0, 20)
_FIRST_SHARPNESS = 10.0
# What is left to gain, as a share, that is worth no round.
_SETTLED = 5e-3


class Opening(NamedTuple):
    """Weights of the links, (K, n_links), as `Levels.normalised`, that are high where it is tight."""

    weights: FloatArray
    bound: float  # on the least cost of the levels
    use: FloatArray  # (K, n_links), utilisation that the method has reached


def opening(pricing: Pricing, tie_break: FloatArray, levels: Levels, rounds: int, deadline: Deadline) -> Opening:
    """Weigh the links by how they fill when all demands keep following the cheapest paths.

    Frank-Wolfe on the soft maximum of the utilisations. `tie_break` (K, n_links) is added to the prices. The
    weights given are the mean over the rounds: single ones swing, their mean gives a far better bound. Rounds end
    when nothing is left to gain. Bienstock, "Potential function methods for approximately solving linear
    programming problems", 2002.
    """
    use = _use(pricing, pricing.cheapest(tie_break))
    mean, bound = np.zeros_like(use), 0.0
    for step in range(1, rounds + 1):
        highest = levels.peaks(use)
        if highest.max() <= 0 or deadline.passed():
            break
        # A level without traffic is no limit: it has only to divide nothing by nothing.
        sharpness = ((_FIRST_SHARPNESS + step) / np.where(highest > 0, highest, 1.0))[:, None]
        weights = levels.normalised(np.exp(sharpness * (levels.cut(use) - highest[:, None]))).reshape(use.shape)
        mean += (weights - mean) * (2 / (step + 1))
        cheapest = pricing.cheapest(weights + tie_break)
        # The tie break is a weight on the mean, which is no larger than the levels.
        bound = max(bound, float(cheapest.cost.sum()) / (1.0 + float(tie_break.sum())))
        if bound >= (1.0 - _SETTLED) * levels.value(use):
            break
        to = _use(pricing, cheapest)
        shares = _STEPS * min(1.0, 3.0 / step)
        tried = levels.cut(use) + shares[:, None, None] * levels.cut(to - use)
        peaks = tried.max(axis=2, keepdims=True)
        soft = peaks[..., 0] + np.log(np.exp(sharpness * (tried - peaks)).sum(axis=2)) / sharpness[:, 0]
        use = tried[int((soft @ levels.costs).argmin())].reshape(use.shape)
    if not mean.any():
        return Opening(levels.normalised(np.ones_like(use)), 0.0, use)
    weights = levels.normalised(mean)
    return Opening(weights, max(bound, pricing.bound(weights)), use)


def _use(pricing: Pricing, cheapest: Cheapest) -> FloatArray:
    return pricing.loads(cheapest) / pricing.network.capacity_mbps
