"""Which part of a long demand to play, and how loud: it starts calm and overloads shortest paths later on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mininet_topos.demand import BadDemand, Demand
from mininet_topos.loads import optimum_utilisation, shortest_utilisation
from mininet_topos.topology import LabTopology

FloatArray = npt.NDArray[np.float64]

TARGET_UTILISATION = 1.3
OPTIMUM_MAX = 0.9
LEAD_IN_STEPS = 15
CALM_MAX = 0.95
_SAMPLES, _FULLEST = 300, 60
_LARGEST = 5


@dataclass(frozen=True)
class Stretch:
    """Play `steps` matrices from index `start` times `scale`.

    `peak_utilisation`: of the fullest link on shortest paths; `optimum_utilisation`: what the best split
    routing would have at the hardest moments; `overload_step`: the first step of the stretch (counted from
    its start) where shortest paths overload a link, None if none does; `overloaded_share`: of all steps;
    `note`: what could not be had.
    """

    start: int
    steps: int
    scale: float
    peak_utilisation: float
    optimum_utilisation: float
    overload_step: int | None
    overloaded_share: float
    note: str = ""


def scale_to_overload(
    demand: Demand, topology: LabTopology, *, target: float = TARGET_UTILISATION, optimum_max: float = OPTIMUM_MAX
) -> float:
    """Return the factor that brings the fullest link on shortest paths to `target`.

    Less where even the best routing would then exceed `optimum_max`. `demand` is already on the lab (`map_to`).
    Raises BadDemand.
    """
    peak = float(shortest_utilisation(topology, demand.matrices).max())
    if peak <= 0:
        raise BadDemand(
            f"{demand.name}: no traffic between two different routers in this stretch; choose another start"
        )
    hardest = _hardest_optimum(demand, topology)
    return min(target / peak, optimum_max / hardest)


def describe(demand: Demand, topology: LabTopology, start: int, steps: int, scale: float | None = None) -> Stretch:
    """Say what a stretch chosen by hand does to the lab; without `scale`, scale it to overload.

    Raises BadDemand.
    """
    window = demand.window(start, steps)
    if scale is None:
        scale = scale_to_overload(window, topology)
    loud = demand.window(start, steps, scale)
    highest = shortest_utilisation(topology, loud.matrices).max(axis=1)
    over = np.flatnonzero(highest > 1)
    return Stretch(
        start,
        steps,
        scale,
        float(highest.max()),
        _hardest_optimum(window, topology) * scale,
        int(over[0]) if len(over) else None,
        len(over) / steps,
    )


def busy_stretch(
    demand: Demand,
    topology: LabTopology,
    minutes: float,
    *,
    target: float = TARGET_UTILISATION,
    optimum_max: float = OPTIMUM_MAX,
    lead_in: int = LEAD_IN_STEPS,
    calm_max: float = CALM_MAX,
) -> Stretch:
    """Choose `minutes` of the data that start calm and then overload shortest paths for as long as possible.

    Calm: the first `lead_in` steps stay under `calm_max`.

    Scaled so that shortest paths peak at `target`, or less where the best routing would then exceed
    `optimum_max`. Where no stretch has it all the one that starts calmest is taken, and `note` says so.
    Deterministic. Raises BadDemand.
    """
    steps = _steps_of(demand, minutes)
    if demand.steps == 1:
        found = describe(demand, topology, 0, steps)
        return _noted(found, "the file holds one matrix: constant demand, overload from the first moment")
    if steps > demand.steps:
        raise BadDemand(
            f"{demand.name}: {minutes:g} minutes are {steps} steps, the file has {demand.steps}; use --minutes "
            f"{demand.steps * demand.step_s / 60:g} or less"
        )
    if steps <= lead_in:
        raise BadDemand(
            f"{minutes:g} minutes are {steps} steps; at least {lead_in + 1} are needed for a calm start"
        )
    highest = shortest_utilisation(topology, demand.matrices).max(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(highest, steps)
    optimum = np.lib.stride_tricks.sliding_window_view(_sampled_optimum(demand, topology, highest), steps)
    tiny = np.finfo(float).tiny
    scale = np.minimum(
        target / np.maximum(windows.max(axis=1), tiny), optimum_max / np.maximum(optimum.max(axis=1), tiny)
    )
    calm = windows[:, :lead_in].max(axis=1) * scale
    overloaded = (windows[:, lead_in:] * scale[:, None] > 1).mean(axis=1)
    good = np.flatnonzero((calm < calm_max) & (overloaded > 0))
    if len(good):
        return describe(demand, topology, int(good[np.argmax(overloaded[good])]), steps)
    steepest = int(np.argmin(calm))
    return _noted(
        describe(demand, topology, steepest, steps),
        f"no stretch of {steps} steps starts calm and can be carried by a better routing; this one starts calmest",
    )


def _sampled_optimum(demand: Demand, topology: LabTopology, highest: FloatArray) -> FloatArray:
    """The optimum at moments spread over the file and at the fullest ones, (steps,); 0 at all others."""
    spread = np.arange(0, demand.steps, max(1, demand.steps // _SAMPLES))
    fullest = np.argsort(-highest, kind="stable")[:_FULLEST]
    optimum = np.zeros(demand.steps)
    for step in np.union1d(spread, fullest).tolist():
        optimum[step] = optimum_utilisation(topology, demand.matrices[step])
    return optimum


def _steps_of(demand: Demand, minutes: float) -> int:
    steps = round(minutes * 60 / demand.step_s) if minutes > 0 else 0
    if steps < 1:
        raise BadDemand(f"minutes={minutes:g}: must be at least one step of {demand.step_s / 60:g} minutes")
    return steps


def _noted(stretch: Stretch, note: str) -> Stretch:
    return Stretch(**{**stretch.__dict__, "note": note})


def _hardest_optimum(demand: Demand, topology: LabTopology) -> float:
    """The optimum at the likely hardest moments: fullest link on shortest paths, and the largest totals."""
    fullest = int(shortest_utilisation(topology, demand.matrices).max(axis=1).argmax())
    largest = np.argsort(-demand.matrices.sum(axis=(1, 2)), kind="stable")[:_LARGEST]
    return max(optimum_utilisation(topology, demand.matrices[step]) for step in {fullest, *largest.tolist()})
