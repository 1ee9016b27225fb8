"""Latency of links under load, learnt online from what is measured on them.

The latency of a link is its base (propagation, processing) and a queue that never shrinks as load grows. What a
link has not shown yet is taken from the queues of the others, see `pathing.shared_queue`: normal priors, empirical
Bayes (Gelman et al., "Bayesian Data Analysis", ch. 5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pathing.checks import float_array, number
from pathing.csr import FloatArray, IndexArray
from pathing.errors import TopologyError, WeightError
from pathing.link_curves import LinkCurves, piece, products
from pathing.path import Path
from pathing.shared_queue import features, outer
from pathing.topology import Topology
from pathing.weights import charge_unknown

_NOISE_MEMORY = 50.0
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
        if not number(half_life) > 0:
            raise WeightError(f"half_life is {half_life!r}; it must be a number of measurements above 0")
        self._topology = topology
        self._fading = 1 - 0.5 ** (1 / half_life)
        self._links = LinkCurves.before_any(np.empty(0), np.empty(0))
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
        return products(self._forecast(utilisation), self._links.curve)

    def link_latency_std_ms(self, utilisation: ArrayLike) -> FloatArray:
        """Give the standard deviation of the next measurement about `link_latency_ms`, (n_links,).

        It holds both the noise and what is not known yet of the curve. Raises as `link_latency_ms`.
        """
        at = self._forecast(utilisation)
        everyone = np.arange(self._links.n_links)
        return np.sqrt(self._links.noise(everyone, at) + self._links.doubt(everyone, at))

    def predict_latency(self, path: Path, forecast_utilisation: ArrayLike) -> float:
        """Predict the latency of a path in ms under a forecast, one number or one a link; 0 without links.

        Raises as `link_latency_ms`, and `TopologyError` for a path with a link that is not there.
        """
        links = [self._topology.link(link).id for link in path.links]
        return float(self.link_latency_ms(forecast_utilisation)[links].sum())

    # -- learning

    def _learn(self, links: IndexArray, at: FloatArray, latency_ms: FloatArray) -> None:
        """Learn one measurement of each of these links, taken at the loads whose features are `at`."""
        state = self._links
        predicted = products(at, state.curve[links])
        noise = state.noise(links, at)
        std = np.sqrt(noise + state.doubt(links, at))
        limit = _OUTLIER_STDS * std
        surprise = latency_ms - predicted
        surprise -= self._move_base(links, surprise, limit)
        cell = links, piece(at)
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
        known = products(at, along)
        fading = np.divide(self._fading, known, out=np.zeros(known.size), where=known > 0)
        weighed = at / noise[:, None]
        information += at[:, :, None] * weighed[:, None, :] - fading[:, None, None] * outer(along)
        moment += (predicted + surprise)[:, None] * weighed - (fading * products(at, moment))[:, None] * along
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
        fresh = LinkCurves.before_any(capacity[known:], base[known:])
        fresh.prior_precision[:, 0, 0] = off[known:] ** -2
        self._links = self._links.joined(fresh)
        self._links.share()

    def _forecast(self, utilisation: ArrayLike) -> FloatArray:
        self._admit()
        values, n_links = float_array(utilisation), self._links.n_links
        if values is None:
            raise WeightError("utilisation is no array of real numbers; give load over capacity, 0 or more")
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
        _column("link_ids", link_ids)
        links = np.atleast_1d(np.asarray(link_ids))
        load, latency = _column("utilisation", utilisation), _column("latency_ms", latency_ms)
        lost = _column("loss", np.zeros(links.shape) if loss is None else loss)
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


def _longer(run: FloatArray, surprise: FloatArray, limit: FloatArray) -> FloatArray:
    """Go on counting surprises beyond the limit on one side; another kind of surprise starts from 1, -1 or 0."""
    side = np.where(np.abs(surprise) > limit, np.sign(surprise), 0.0)
    return np.where(side * run > 0, run, 0.0) + side


def _column(field: str, values: ArrayLike) -> FloatArray:
    numbers = float_array(values)
    if numbers is None:
        raise TopologyError(f"{field} is no array of real numbers; give one a measurement, NaN for not measured")
    return np.atleast_1d(numbers)
