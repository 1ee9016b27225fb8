"""A plan by congestion prices, without a linear programme: good within some per cent, at any time.

Demands are placed in falling order of volume, each on the path of least price, where a link's price grows with the
exponent of its utilisation; then, while it helps, demands leave the fullest links one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray, IndexArray
from pathing.routing.deadline import Deadline
from pathing.routing.network import Commodities
from pathing.routing.pricing import Pricing
from pathing.routing.ragged import Ragged
from pathing.routing.split import Split

# How sharply a price rises: exp(_SHARPNESS * utilisation / the largest one).
_SHARPNESS = 60.0
_BATCHES = 60
# A demand stays on its base path unless another is cheaper by this share.
_WORTH_IT = 1e-1
_SWEEPS = 30
_MOVES_A_SWEEP = 100
_DEMANDS_A_MOVE = 200
# Demands leave the links that are this near to the fullest.
_HOT = 0.98
# Sweeps without lowering the peak by this share before giving up.
_PROGRESS = 1e-3
_PATIENCE = 3
_CAP = 50.0
# In more parts the smallest would carry next to nothing.
_MOST_PARTS = 16
# Differences below these are rounding errors, of a price and of the soft maximum.
_LEAST_GAIN = 1e-12
_LEAST_PROGRESS = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """One path for each commodity, and the utilisation of the links in each matrix, (K, n_links)."""

    paths: Ragged
    use: FloatArray


class SplitLimits(NamedTuple):
    """A demand that fills more than the share `large` of its narrowest link is split into `most_parts` parts.

    Into sixteen at most.
    """

    most_parts: int
    large: float


def greedy_split(
    pricing: Pricing,
    tie_break: FloatArray,
    expected: FloatArray,
    base: Ragged,
    limits: SplitLimits,
    deadline: Deadline,
) -> Split:
    """Give a plan in which only large demands are split; otherwise as `greedy`."""
    commodities, capacity = pricing.commodities, pricing.network.capacity_mbps
    narrowest = np.minimum.reduceat(capacity[base.links], base.offsets[:-1])
    large = commodities.peaks > limits.large * expected.max() * narrowest
    # Parts of 1, 2, 4, ... can be put together to nearly any ratio.
    sizes = 2.0 ** np.arange(min(limits.most_parts, _MOST_PARTS))
    count = np.where(large, sizes.size, 1)
    owners = np.repeat(np.arange(len(commodities)), count)
    within = np.arange(owners.size) - np.repeat(np.append(0, count.cumsum()[:-1]), count)
    fractions = np.where(large[owners], (sizes / sizes.sum())[within], 1.0)
    parts = Commodities(
        commodities.sources[owners], commodities.targets[owners], commodities.volumes[:, owners] * fractions
    )
    pricing = Pricing(pricing.network, parts, pricing.searcher)
    found = greedy(pricing, tie_break, expected, base.take(owners), deadline)
    return Split(found.paths, owners, fractions)


def greedy(
    pricing: Pricing, tie_break: FloatArray, expected: FloatArray, base: Ragged, deadline: Deadline
) -> Assignment:
    """Give each commodity one path.

    `expected` (K, n_links) is how full the links will be about: the traffic still to be placed is thought to
    spread like that, so that the first demands leave room for the last ones. `base` are the paths to keep to where
    nothing speaks against it.
    """
    return improve(pricing, tie_break, _place(pricing, tie_break, expected, base, deadline), deadline)


def _place(
    pricing: Pricing, tie_break: FloatArray, expected: FloatArray, base: Ragged, deadline: Deadline
) -> Assignment:
    """Place batch by batch; what the time is too short for keeps to its base path."""
    commodities, network = pricing.commodities, pricing.network
    peaks = commodities.peaks
    left = total = float(peaks.sum())
    use = np.zeros_like(expected)
    placed = []
    batches = _batches(peaks)
    for number, batch in enumerate(batches):
        if deadline.passed():
            batches[number:] = [np.concatenate(batches[number:])]
            placed.append(base.take(batches[number]))
            late = commodities.volumes[:, batches[number]]
            use += [placed[-1].loads(row, network.n_links) / network.capacity_mbps for row in late]
            break
        volume = float(peaks[batch].sum())
        # The price is that of the links with one more such demand on them.
        weights = _weights(
            use + expected * (left / total) + volume / batch.size / network.capacity_mbps, _SHARPNESS
        )
        part = Pricing(network, commodities.take(batch), pricing.searcher)
        cheapest, mine, everyone = part.cheapest(weights + tie_break), base.take(batch), np.arange(batch.size)
        staying = part.costs(weights + tie_break, mine, everyone) <= cheapest.cost * (1 + _WORTH_IT)
        paths = Ragged.join([mine, cheapest.paths(everyone)]).take(
            np.where(staying, everyone, batch.size + everyone)
        )
        use += [paths.loads(row, network.n_links) / network.capacity_mbps for row in part.commodities.volumes]
        left -= volume
        placed.append(paths)
    return Assignment(Ragged.join(placed).take(np.argsort(np.concatenate(batches))), use)


def _batches(volumes: FloatArray) -> list[IndexArray]:
    """Cut the demands, in falling order, where equal parts of the traffic end."""
    order = np.argsort(-volumes, kind="stable")
    reached = volumes[order].cumsum()
    label = (reached / max(reached[-1], np.finfo(np.float64).tiny) * _BATCHES).astype(np.intp)
    return np.split(order, np.flatnonzero(np.diff(label)) + 1)


def improve(pricing: Pricing, tie_break: FloatArray, start: Assignment, deadline: Deadline) -> Assignment:
    """Move demands off the fullest links while that lowers the soft maximum of the utilisations."""
    routes, use = _Routes(start.paths), start.use.copy()
    stalled = 0
    for _ in range(_SWEEPS):
        highest = float(use.max())
        if stalled >= _PATIENCE or highest <= 0 or deadline.passed():
            break
        prices = _weights(use, 2 * _SHARPNESS) + tie_break
        moves = _candidates(pricing, prices, routes, use >= _HOT * highest)
        accepted = _accept(pricing, moves, routes, use, 2 * _SHARPNESS / highest, deadline)
        if not accepted.size:
            break
        routes.change(moves.owners[accepted], moves.paths.take(accepted))
        stalled = stalled + 1 if use.max() > highest * (1 - _PROGRESS) else 0
    return Assignment(routes.paths(), use)


class _Routes:
    """The path each commodity has now; changing some costs no copy of all the others."""

    def __init__(self, first: Ragged) -> None:
        self._first, self._later = first, Ragged.empty()
        self._place = np.arange(len(first))  # among the first paths and then the later ones

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up one value a link along each path."""
        return np.concatenate((self._first.sums(values), self._later.sums(values)))[self._place]

    def path(self, owner: int) -> IndexArray:
        """The links of one path."""
        place = int(self._place[owner])
        later = place - len(self._first)
        return self._first.path(place) if later < 0 else self._later.path(later)

    def change(self, owners: IndexArray, paths: Ragged) -> None:
        """Give some commodities other paths."""
        self._place[owners] = len(self._first) + len(self._later) + np.arange(owners.size)
        self._later = Ragged.join([self._later, paths])

    def paths(self) -> Ragged:
        """All paths."""
        return Ragged.join([self._first, self._later]).take(self._place)


def _candidates(pricing: Pricing, prices: FloatArray, routes: _Routes, hot: NDArray[np.bool_]) -> Split:
    """The demands on hot links that gain most a Mbit/s by leaving for the cheapest path, with that path."""
    on_hot = np.flatnonzero(routes.sums(np.asarray(hot.any(axis=0), dtype=np.float64)) > 0)
    part = Pricing(pricing.network, pricing.commodities.take(on_hot), pricing.searcher)
    cheapest, peaks = part.cheapest(prices), part.commodities.peaks
    current = np.zeros(on_hot.size)
    for row, price in zip(part.commodities.volumes, prices / pricing.network.capacity_mbps, strict=True):
        current += row * routes.sums(price)[on_hot]
    gain = np.where(peaks > 0, current - cheapest.cost, 0.0) / np.where(peaks > 0, peaks, 1.0)
    which = np.flatnonzero(gain > _LEAST_GAIN)
    most = max(_MOVES_A_SWEEP, len(pricing.commodities) // _DEMANDS_A_MOVE)
    which = which[np.argsort(-gain[which], kind="stable")][:most]
    return Split(cheapest.paths(which), on_hot[which], np.ones(which.size))


def _accept(
    pricing: Pricing, moves: Split, routes: _Routes, use: FloatArray, sharpness: float, deadline: Deadline
) -> IndexArray:
    """Make the moves one after the other that still help when their turn comes; `use` follows them."""
    accepted = []
    capacity, volumes = pricing.network.capacity_mbps, pricing.commodities.volumes
    highest = float(use.max())
    for number, owner in enumerate(moves.owners.tolist()):
        if deadline.passed():
            break
        old, new = routes.path(owner), moves.paths.path(number)
        touched = np.concatenate((old, new))
        before = use[:, touched]
        change = np.zeros(use.shape[1])
        change[old] -= 1 / capacity[old]
        change[new] += 1 / capacity[new]
        after = before + volumes[:, owner, None] * change[touched]
        # A move that lifts a link far above the fullest needs no exact figure, only no overflow.
        soft = np.exp(np.minimum(sharpness * (np.array((after, before)) - highest), _CAP)).sum(axis=(1, 2))
        if soft[0] < soft[1] - _LEAST_PROGRESS:
            use[:, touched] = after
            accepted.append(number)
    return np.array(accepted, dtype=np.intp)


def _weights(use: FloatArray, sharpness: float) -> FloatArray:
    """Weights of the links that add up to 1, exponential in the utilisation."""
    highest = float(use.max())
    weights: FloatArray = np.exp(sharpness * (use / highest - 1)) if highest > 0 else np.ones_like(use)
    weights /= weights.sum()
    return weights
