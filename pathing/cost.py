"""The cost of a link as the controller sees it: latency, load, loss and price, all in milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from pathing.checks import float_array, number
from pathing.csr import FloatArray
from pathing.errors import WeightError
from pathing.topology import Topology
from pathing.weights import charge_unknown

# Fortz and Thorup, "Internet Traffic Engineering by Optimizing OSPF Weights", INFOCOM 2000: from each
# utilisation on, the slope of the cost of load.
_KNEES = np.array([0.0, 1 / 3, 2 / 3, 9 / 10, 1.0, 11 / 10])
_SLOPES = np.array([1.0, 3.0, 10.0, 70.0, 500.0, 5000.0])
_AT_KNEES = np.concatenate(([0.0], np.cumsum(np.diff(_KNEES) * _SLOPES[:-1])))


@dataclass(frozen=True, slots=True)
class CostWeights:
    """What one unit of each part is worth, in milliseconds; 0 leaves the part out.

    `latency`: ms for each ms of latency. `load_ms`: ms for each unit of `load_penalty` (0.33 at a third full,
    3.7 at 90 %, 10.7 when full). `loss_ms`: ms for each unit of -ln(1 - loss), so 1 % of loss is worth 10 ms.
    `price_ms`: ms for each unit of a link's `cost` (default 1 a link, so that among equals fewer hops win).
    Raises `WeightError` for a negative or non-finite value.
    """

    latency: float = 1.0
    load_ms: float = 1.0
    loss_ms: float = 1000.0
    price_ms: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= number(value) < math.inf:
                raise WeightError(f"{field.name} is {value!r}; it must be a finite number, 0 or more")


def load_penalty(utilisation: FloatArray) -> FloatArray:
    """Give the convex, piecewise linear cost of load over capacity (Fortz-Thorup): 0 at 0, 60.7 at 1.1.

    NaN for NaN. Raises `WeightError` for a negative utilisation.
    """
    if (utilisation < 0).any():
        raise WeightError(f"utilisation has {np.nanmin(utilisation)} in it; give load over capacity, 0 or more")
    piece = np.searchsorted(_KNEES, utilisation, side="right") - 1
    penalty: FloatArray = _AT_KNEES[piece] + (utilisation - _KNEES[piece]) * _SLOPES[piece]
    return penalty


def link_cost(
    topology: Topology,
    *,
    load_mbps: float | FloatArray | None = None,
    weights: CostWeights | None = None,
) -> FloatArray:
    """Give each link's cost in ms, (n_links,), additive along a path.

        cost_ms = latency * latency_ms                   unknown latency charged as in `charge_unknown`
                + load_ms * load_penalty(utilisation + load_mbps / capacity_mbps)
                + loss_ms * -ln(1 - loss)                sums to -ln(share delivered end to end)
                + price_ms * cost

    `load_mbps` comes on top of the load the topology knows: one number for all links (the bandwidth about to
    be placed) or one a link (a forecast's growth). Raises `WeightError` for NaN, negative or a wrong length.
    """
    worth = CostWeights() if weights is None else weights
    extra = float_array(0.0 if load_mbps is None else load_mbps)
    if extra is None:
        raise WeightError(f"load_mbps is {load_mbps!r}; give Mbit/s, one number or one a link")
    if extra.shape not in {(), (topology.n_links,)}:
        raise WeightError(
            f"load_mbps has shape {extra.shape}; give one number, or one a link: ({topology.n_links},)"
        )
    if not (np.isfinite(extra) & (extra >= 0)).all():
        raise WeightError("load_mbps has a negative or non-finite entry; give Mbit/s, 0 or more")
    utilisation = topology.array("utilisation") + extra / topology.array("capacity_mbps")
    return (
        worth.latency * charge_unknown(topology.array("latency_ms"))
        + worth.load_ms * load_penalty(utilisation)
        - worth.loss_ms * np.log1p(-topology.array("loss"))
        + worth.price_ms * topology.array("cost")
    )
