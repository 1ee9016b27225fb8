"""Latency of links under load, learnt online from what is measured on them.

The latency of a link is its base (propagation, processing) and a queue that never shrinks as load grows. What a
link has not shown yet is taken from the queues of the others, see `pathing.shared_queue`: normal priors, empirical
Bayes (Gelman et al., "Bayesian Data Analysis", ch. 5).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pathing.csr import FloatArray, IndexArray
from pathing.errors import TopologyError, WeightError
from pathing.path import Path
from pathing.shared_queue import KNOTS, expected_queues, features, non_negative, outer
from pathing.topology import Topology
from pathing.weights import charge_unknown

_SIZE = KNOTS.size  # the base and the increments

# Queues vary about their mean as much as the mean is, as M/M/1's do, until a link has shown its own noise.
_QUEUE_NOISE = 1.0
_GUESS_COUNTS = 2.0
_NOISE_MEMORY = 50.0
_LEAST_NOISE_MS = 1e-3

_OUTLIER_STDS = 4.0
_MOVED_AFTER = 8
_SHARE_AFTER_GROWTH = 1.1


class LatencyModel:
    """Learns each link's latency as a function of its utilisation; O(1) memory a link, no history kept.

    Until something is measured a link has the topology's `latency_ms` (unknown: as `charge_unknown` says) and
    the queue that the other links show. `half_life` is the number of measurements at about the same load after
    which an old one counts half; what was learnt at other loads stays, so a quiet night does not wipe out the
    busy hour (directional forgetting: Cao and Schwartz, Automatica 36(11), 2000). Latency and capacity are
    read off the topology when a link is first seen. Not thread-safe. Raises `WeightError` for a `half_life`
    that is not positive.
    """

    def __init__(self, topology: Topology, *, half_life: float = 1000.0) -> None:
        if not half_life > 0:
            raise WeightError(f"half_life is {half_life!r}; it must be a number of measurements above 0")
        self._topology = topology
        self._fading = 1 - 0.5 ** (1 / half_life)
        self._links = _Links.before_any(np.empty(0), np.empty(0))
        self._measured = self._measured_when_shared = 0
        self._admit()

    def observe(
        self,
        link_ids: ArrayLike,
        utilisation: ArrayLike,
        latency_ms: ArrayLike,
        loss: ArrayLike | None = None,
    ) -> None:
        """Learn from measurements, one entry each; a link may be there several times, oldest first.

        `utilisation` is what the link carried over what it can; with `loss`, the share of packets lost, the
        load is what was offered, utilisation / (1 - loss). An entry with a NaN is left out. An outlier counts
        no more than a measurement four standard deviations off; eight in a row on the same side mean that the
        base has moved, by a re-route below us. Raises `TopologyError` naming the link and the field, or the
        lengths when they differ; nothing is learnt then.
        """
        self._admit()
        links, offered, latency = self._checked(link_ids, utilisation, latency_ms, loss)
        self._measured += links.size
        while links.size:
            _, first = np.unique(links, return_index=True)
            self._learn(links[first], features(offered[first]), latency[first])
            links, offered, latency = (
                np.delete(links, first),
                np.delete(offered, first),
                np.delete(latency, first),
            )
        # Often at first, ever more rarely later: what links share hardly moves once much is known.
        if self._measured > _SHARE_AFTER_GROWTH * self._measured_when_shared:
            self._measured_when_shared = self._measured
            self._links.share()

    def link_latency_ms(self, utilisation: ArrayLike) -> FloatArray:
        """Predict each link's latency in ms, (n_links,); `utilisation` is one number or one a link.

        It never falls as utilisation grows, is finite and 0 or more, and can be the `weight` of any search.
        Raises `WeightError` for NaN, a negative number or a wrong length.
        """
        return _products(self._forecast(utilisation), self._links.curve)

    def link_latency_std_ms(self, utilisation: ArrayLike) -> FloatArray:
        """Give the standard deviation of the next measurement about `link_latency_ms`, (n_links,).

        It holds both the noise and what is not known yet of the curve. Raises as `link_latency_ms`.
        """
        at = self._forecast(utilisation)
        everyone = np.arange(self._links.n_links)
        return np.sqrt(self._links.noise(everyone, at) + self._links.doubt(everyone, at))

    def predict_latency(self, path: Path, forecast_utilisation: ArrayLike) -> float:
        """Predict the latency of a path in ms under a forecast, one number or one a link; 0 without links.

        Raises as `link_latency_ms`.
        """
        return float(self.link_latency_ms(forecast_utilisation)[list(path.links)].sum())

    # -- learning

    def _learn(self, links: IndexArray, at: FloatArray, latency_ms: FloatArray) -> None:
        """Learn one measurement of each of these links, taken at the loads whose features are `at`."""
        state = self._links
        predicted = _products(at, state.curve[links])
        noise = state.noise(links, at)
        std = np.sqrt(noise + state.doubt(links, at))
        limit = _OUTLIER_STDS * std
        surprise = latency_ms - predicted
        surprise -= self._move_base(links, surprise, limit)
        cell = links, _piece(at)
        # From one measurement to the next at about this load: a curve that is off adds nothing to it.
        step = np.minimum(np.abs(surprise - state.last[cell]), _OUTLIER_STDS * np.sqrt(2 * noise))
        state.last[cell] = surprise
        state.count[cell] += 1
        share = 1 / np.minimum(state.count[cell], _NOISE_MEMORY)
        state.noise_variance[cell] += share * (
            np.where(np.isnan(step), noise, step**2 / 2) - state.noise_variance[cell]
        )
        state.piece_run[cell] = run = _longer(state.piece_run[cell], surprise, limit)
        # Many in a row at about this load are no outliers: the queue is another one now.
        surprise = np.where(np.abs(run) < _MOVED_AFTER, np.clip(surprise, -limit, limit), surprise)

        information, moment = state.information[links], state.moment[links]
        along = np.einsum("ijk,ik->ij", information, at)
        known = _products(at, along)
        fading = np.divide(self._fading, known, out=np.zeros(known.size), where=known > 0)
        weighed = at / noise[:, None]
        information += at[:, :, None] * weighed[:, None, :] - fading[:, None, None] * outer(along)
        moment += (predicted + surprise)[:, None] * weighed - (fading * _products(at, moment))[:, None] * along
        state.information[links], state.moment[links] = information, moment
        state.refit(links)

    def _move_base(self, links: IndexArray, surprise: FloatArray, limit: FloatArray) -> FloatArray:
        """Give by how much the base of each link moves, mostly 0: after a run of surprises on one side."""
        state = self._links
        run = _longer(state.run[links], surprise, limit)
        size = np.abs(surprise)
        least = np.where(np.abs(run) > 1, np.minimum(state.run_ms[links], size), size)
        moved = np.where(np.abs(run) >= _MOVED_AFTER, np.sign(run) * least, 0.0)
        state.run[links], state.run_ms[links] = np.where(moved != 0, 0.0, run), least
        if moved.any():
            # As if what was measured before had been measured on the link as it is now.
            state.moment[links] += moved[:, None] * state.information[links][:, :, 0]
            state.prior[links, 0] = np.maximum(0.0, state.prior[links, 0] + moved)
            state.piece_run[links[moved != 0]] = 0.0
            state.last[links[moved != 0]] = np.nan
        return moved

    # -- input

    def _admit(self) -> None:
        """Take in the links that were added to the topology since."""
        known, wanted = self._links.n_links, self._topology.n_links
        if known == wanted:
            return
        capacity, latency = self._topology.array("capacity_mbps"), self._topology.array("latency_ms")
        base = charge_unknown(latency)
        # A figure from a map or a data sheet is not what the fibre has; an unknown one says next to nothing.
        off = np.where(np.isnan(latency), 10.0 + base, 0.1 + 0.25 * base)
        fresh = _Links.before_any(capacity[known:], base[known:])
        fresh.prior_precision[:, 0, 0] = off[known:] ** -2
        self._links = self._links.joined(fresh)
        self._links.share()

    def _forecast(self, utilisation: ArrayLike) -> FloatArray:
        self._admit()
        values, n_links = np.asarray(utilisation, dtype=np.float64), self._links.n_links
        if values.shape not in {(), (n_links,)}:
            raise WeightError(
                f"utilisation has shape {values.shape}; give one number, or one a link: ({n_links},), by link id"
            )
        if not (values >= 0).all():
            raise WeightError("utilisation has a negative entry or a NaN; give load over capacity, 0 or more")
        return features(np.broadcast_to(values, (n_links,)))

    def _checked(
        self, link_ids: ArrayLike, utilisation: ArrayLike, latency_ms: ArrayLike, loss: ArrayLike | None
    ) -> tuple[IndexArray, FloatArray, FloatArray]:
        """Give link, offered load and latency of the measurements that are complete."""
        links = np.atleast_1d(np.asarray(link_ids))
        lost_or_none = np.zeros(links.shape) if loss is None else loss
        load, latency, lost = (
            np.atleast_1d(np.asarray(values, dtype=np.float64))
            for values in (utilisation, latency_ms, lost_or_none)
        )
        shapes = [values.shape for values in (links, load, latency, lost)]
        if len(shapes[0]) != 1 or len(set(shapes)) > 1:
            raise TopologyError(
                "link_ids, utilisation, latency_ms and loss have shapes "
                f"{', '.join(map(str, shapes))}; give one entry each for every measurement"
            )
        if links.size and links.dtype.kind not in "iu":
            raise TopologyError(f"link_ids are {links.dtype}, no whole numbers; give the ids of add_link")
        for link_id in links[(links < 0) | (links >= self._links.n_links)]:
            self._topology.link(int(link_id))  # raises, naming the ids there are
        self._require(links, "utilisation", load, load >= 0, "0 or more")
        self._require(links, "latency_ms", latency, latency >= 0, "0 or more")
        self._require(links, "loss", lost, (lost >= 0) & (lost <= 1), "a share in [0, 1]")
        # Where all is lost there is no latency to learn from.
        whole = ~np.isnan(load) & ~np.isnan(latency) & (lost < 1)
        return links[whole].astype(np.intp), load[whole] / (1 - lost[whole]), latency[whole]

    def _require(
        self, links: IndexArray, field: str, values: FloatArray, allowed: NDArray[np.bool_], expected: str
    ) -> None:
        bad = np.flatnonzero(np.isinf(values) | ~(allowed | np.isnan(values)))
        if bad.size:
            link = self._topology.link(int(links[bad[0]]))
            raise TopologyError(
                f"link {link.id} ({link.src!r} -> {link.dst!r}): {field} is {values[bad[0]]}; "
                f"it must be a finite number, {expected}, or NaN where it was not measured"
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
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
    def before_any(cls, capacity_mbps: FloatArray, base_ms: FloatArray) -> _Links:
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
        return self.run.size

    def joined(self, others: _Links) -> _Links:
        """These links followed by the others."""
        names = [field.name for field in fields(self)]
        return _Links(*(np.concatenate((getattr(self, name), getattr(others, name))) for name in names))

    def noise(self, links: IndexArray, at: FloatArray) -> FloatArray:
        """Variance of measurements about the true curve at these loads: as seen there, or guessed."""
        cell = links, _piece(at)
        queue_ms = _products(at[:, 1:], self.curve[links, 1:])
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


def _longer(run: FloatArray, surprise: FloatArray, limit: FloatArray) -> FloatArray:
    """Go on counting surprises beyond the limit on one side; another kind of surprise starts from 1, -1 or 0."""
    side = np.where(np.abs(surprise) > limit, np.sign(surprise), 0.0)
    return np.where(side * run > 0, run, 0.0) + side


def _piece(at: FloatArray) -> IndexArray:
    """Which piece of the curve features belong to, 0 for the first."""
    return np.asarray((at[:, 1:] >= 1).sum(axis=1), dtype=np.intp)


def _products(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->i", left, right), dtype=np.float64)
