"""What is known of the latency of links: a curve for each, what it rests on, and how sure it is.

Fitted from the normal equations of what was measured and a normal prior, see `pathing.latency_model`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.shared_queue import KNOTS, expected_queues, non_negative

_SIZE = KNOTS.size  # the base and the increments

# Queues vary about their mean as much as the mean is, as M/M/1's do, until a link has shown its own noise.
_QUEUE_NOISE = 1.0
_GUESS_COUNTS = 2.0
_LEAST_NOISE_MS = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class LinkCurves:
    """What is kept of links: one row a link in every array.

    A curve is the base and the increments of the queue, in ms. `information` (n, k, k) and `moment` (n, k) are
    the normal equations of what was measured, `prior` and `prior_precision` what was expected before.
    `noise_variance` and `count` (n, k) are for each piece of the curve. `run` counts measurements in a
    row that were far off on one side (negative: below), all of them by `run_ms` or more; `piece_run` (n, k)
    those on one piece of the curve.
    """

    capacity_mbps: FloatArray
    information: FloatArray
    moment: FloatArray
    prior: FloatArray
    prior_precision: FloatArray
    curve: FloatArray
    covariance: FloatArray
    noise_guess: FloatArray
    noise_variance: FloatArray
    count: FloatArray
    run: FloatArray
    run_ms: FloatArray
    piece_run: FloatArray
    last: FloatArray

    @classmethod
    def before_any(cls, capacity_mbps: FloatArray, base_ms: FloatArray) -> LinkCurves:
        """Links nothing was measured on, without a prior queue; nothing is shared with the arguments."""
        n_links = base_ms.size
        prior = np.zeros((n_links, _SIZE))
        prior[:, 0] = base_ms
        return cls(
            capacity_mbps=capacity_mbps.copy(),
            information=np.zeros((n_links, _SIZE, _SIZE)),
            moment=np.zeros((n_links, _SIZE)),
            prior=prior,
            prior_precision=np.zeros((n_links, _SIZE, _SIZE)),
            curve=prior.copy(),
            covariance=np.zeros((n_links, _SIZE, _SIZE)),
            noise_guess=(0.1 + 0.02 * base_ms) ** 2,
            noise_variance=np.zeros((n_links, _SIZE)),
            count=np.zeros((n_links, _SIZE)),
            run=np.zeros(n_links),
            run_ms=np.zeros(n_links),
            piece_run=np.zeros((n_links, _SIZE)),
            last=np.full((n_links, _SIZE), np.nan),
        )

    @property
    def n_links(self) -> int:
        """Number of links."""
        return self.run.size

    def joined(self, others: LinkCurves) -> LinkCurves:
        """These links followed by the others."""
        names = [field.name for field in fields(self)]
        return LinkCurves(*(np.concatenate((getattr(self, name), getattr(others, name))) for name in names))

    def noise(self, links: IndexArray, at: FloatArray) -> FloatArray:
        """Variance of measurements about the true curve at these loads: as seen there, or guessed."""
        cell = links, piece(at)
        queue_ms = products(at[:, 1:], self.curve[links, 1:])
        guess = self.noise_guess[links] + (_QUEUE_NOISE * queue_ms) ** 2
        count = self.count[cell]
        seen = np.maximum(self.noise_variance[cell], _LEAST_NOISE_MS**2)
        # Between the two by ratio: a guess that is far too large must not outweigh many measurements.
        return np.asarray(seen * (guess / seen) ** (_GUESS_COUNTS / (count + _GUESS_COUNTS)), dtype=np.float64)

    def doubt(self, links: IndexArray, at: FloatArray) -> FloatArray:
        """Variance of the fitted curve about the true one at these loads."""
        variance = np.einsum("ij,ijk,ik->i", at, self.covariance[links], at)
        return np.asarray(np.maximum(0.0, variance), dtype=np.float64)

    def share(self) -> None:
        """Let every link expect what the others show, and fit it again."""
        # The last piece goes on past its knot.
        counts = np.concatenate((self.count[:, :-2], self.count[:, -2:].sum(axis=1, keepdims=True)), axis=1)
        self.prior[:, 1:], covariance = expected_queues(self.capacity_mbps, self.curve[:, 1:], counts)
        self.prior_precision[:, 1:, 1:] = np.linalg.inv(covariance)
        self.refit(np.arange(self.n_links))

    def refit(self, links: IndexArray) -> None:
        """Combine what was measured with what was expected."""
        expected = self.prior_precision[links]
        moment = self.moment[links] + np.einsum("ijk,ik->ij", expected, self.prior[links])
        self.curve[links], self.covariance[links] = non_negative(self.information[links] + expected, moment)


def piece(at: FloatArray) -> IndexArray:
    """Which piece of the curve features belong to, 0 for the first."""
    return np.asarray((at[:, 1:] >= 1).sum(axis=1), dtype=np.intp)


def products(left: FloatArray, right: FloatArray) -> FloatArray:
    """Multiply row by row, (n,)."""
    return np.asarray(np.einsum("ij,ij->i", left, right), dtype=np.float64)
