"""How long queues get as load grows, and what a link's queue is expected to be from those of the others.

A queue is piecewise linear in utilisation: one increment, 0 or more, for each pair of neighbouring knots. It may
bend either way, since a queue explodes below a full link and levels off where its buffer is full. Queues are
shared in kbit waiting (ms times Mbit/s), so that a fast link waits less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray

KNOTS = np.array([0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2])
N_INCREMENTS = KNOTS.size - 1
# The last piece goes on past its knot; beyond this one load is as good as another.
_MOST_UTILISATION = 2.0

# M/M/1 has u / (1 - u) packets in the system; from 90 % on its tangent, since full links are not endless.
_PACKETS = np.where(KNOTS <= 0.9, KNOTS / (1 - np.minimum(KNOTS, 0.9)), 9 + 100 * (KNOTS - 0.9))
_PACKET_KBIT = 12.0
_FIRST_GUESS_KBIT = _PACKET_KBIT * np.diff(_PACKETS)
_FIRST_SHAPE = _FIRST_GUESS_KBIT / _FIRST_GUESS_KBIT.sum()
# How far off that may be: bursts make queues much longer than M/M/1 has them, up to what buffers hold.
_BUFFER_MS = 50.0
# How much links are taken to differ from the shared queue, as a share of it: in scale, and each increment on its
# own, the latter until they have shown it.
_SCALE_SPREAD, _SHAPE_SPREAD = 0.5, 0.5
_SPREAD_VOTES = 2.0
# After so many measurements in a piece a link has half a vote on it. The first guess has a small one.
_HALF_VOTE = 20.0
_GUESS_VOTES = 0.5
_GUESS_SCALE_VOTES = 0.1
# An increment that is 0 in the shared queue may be something on a link: this share of the whole.
_LEAST_SHARE = 1e-3

_FULL_EXCHANGES, _MOST_EXCHANGES = 5, 60


def expected_queues(
    capacity_mbps: FloatArray, increments_ms: FloatArray, counts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Give what to expect of each link's queue from the others: increments in ms (n, k), covariance (n, k, k).

    The mean of the other links' increments (n, k), each counting by how often it was measured there (n, k),
    and how far they are apart. Loads that no other link has seen get M/M/1's shape, at the scale that shows
    where they have. A link that took part in its own expectation would never change its mind.
    """
    votes = counts / (counts + _HALF_VOTE)
    kbit = increments_ms * capacity_mbps[:, None]
    others, total, squares = (part.sum(axis=0) - part for part in (votes, votes * kbit, votes * kbit**2))
    others = np.maximum(others, 0.0)  # rounding
    guess = _GUESS_SCALE_VOTES * _FIRST_GUESS_KBIT.sum()
    scale = np.maximum(1.0, (total.sum(axis=1) + guess) / (others @ _FIRST_GUESS_KBIT + guess))
    mean = (total + _GUESS_VOTES * scale[:, None] * _FIRST_GUESS_KBIT) / (others + _GUESS_VOTES)
    mean = np.maximum(mean, 0.0)
    apart = np.maximum(squares - 2 * mean * total + mean**2 * others, 0.0)

    least = _LEAST_SHARE * mean.sum(axis=1, keepdims=True) * _FIRST_SHAPE
    per_mbps = 1 / capacity_mbps[:, None]
    queue = (mean + least) * per_mbps
    usual = _SPREAD_VOTES * (_SHAPE_SPREAD * queue) ** 2
    unseen = _BUFFER_MS * _FIRST_SHAPE / (1 + others)
    own = (usual + apart * per_mbps**2) / (_SPREAD_VOTES + others) + (_SHAPE_SPREAD * unseen) ** 2
    covariance = outer(_SCALE_SPREAD * queue) + outer(unseen) + own[:, :, None] * np.eye(N_INCREMENTS)
    return mean * per_mbps, covariance


def features(utilisation: FloatArray) -> FloatArray:
    """Give what a base and each increment are multiplied with at these loads, (n, 1 + k); they rise with load."""
    load = np.minimum(utilisation, _MOST_UTILISATION)[:, None]
    pieces = np.maximum((load - KNOTS[:-1]) / np.diff(KNOTS), 0.0)
    pieces[:, :-1] = np.minimum(pieces[:, :-1], 1.0)
    return np.concatenate((np.ones_like(load), pieces), axis=1)


def outer(vectors: FloatArray) -> FloatArray:
    """Give each row's product with itself, (n, k, k)."""
    return np.asarray(vectors[:, :, None] * vectors[:, None, :], dtype=np.float64)


def non_negative(precision: FloatArray, moment: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Minimise x' precision x / 2 - moment' x over x >= 0 for a stack of problems; give x and the inverses.

    Block principal pivoting: Kim and Park, SIAM J. Sci. Comput. 33(6), 2011; Murty's rule where that may cycle.
    """
    inverse = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    best = np.asarray(np.einsum("ijk,ik->ij", inverse, moment), dtype=np.float64)
    hard = np.flatnonzero((best < 0).any(axis=1))
    if hard.size:
        best[hard] = _pivoted(precision[hard], moment[hard], best[hard] < 0)
    return best, inverse


def _pivoted(precision: FloatArray, moment: FloatArray, zero: NDArray[np.bool_]) -> FloatArray:
    """Solve `non_negative` starting from a guess which entries are 0."""
    diagonal = np.eye(moment.shape[1])
    tolerance = 1e-9 * np.abs(moment).max(axis=1, keepdims=True)
    for number in range(_MOST_EXCHANGES):
        free = ~zero
        reduced = np.where(free[:, :, None] & free[:, None, :], precision, diagonal)
        x = np.linalg.solve(reduced, np.where(free, moment, 0.0)[:, :, None])[:, :, 0]
        slope = np.einsum("ijk,ik->ij", precision, x) - moment
        wrong = np.where(free, x < 0, slope < -tolerance)
        if not wrong.any():
            break
        if number >= _FULL_EXCHANGES:
            last = wrong.shape[1] - 1 - wrong[:, ::-1].argmax(axis=1)
            wrong &= np.arange(wrong.shape[1]) == last[:, None]
        zero = zero ^ wrong
    return np.maximum(x, 0.0)
