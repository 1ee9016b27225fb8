"""What a way between two sites is worth to a class of applications, part by part.

A score is from 0 (best) to 1: the weighted mean of the costs of its parts, each from 0 to 1. It is kept with its
parts, so that anybody can see why a way was taken and others were not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pathing import load_penalty
from stitching.overlay.measures import UNMEASURED, Measured, joined_loss, loss_cost, rtt_cost

_FULL = 1.0


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts in a class; only their ratios matter."""

    latency: float = 1.0
    loss: float = 1.0
    bandwidth: float = 1.0
    price: float = 0.2
    relay_load: float = 0.3

    def __post_init__(self) -> None:
        values = [getattr(self, one.name) for one in fields(self)]
        if not all(0 <= value < math.inf for value in values) or not sum(values):
            raise ValueError(f"the weights are {values}; give numbers from 0, not all of them 0")


EVEN = Weights()


@dataclass(frozen=True, slots=True)
class AppClass:
    """Applications that want the same.

    Delay costs between `least_rtt_ms` and `most_rtt_ms`, loss up to `most_loss`, a gigabyte up to `most_price`.
    A way beyond `max_rtt_ms` or `max_loss` is only taken where all are.
    """

    name: str
    weights: Weights = EVEN
    least_rtt_ms: float = 10.0
    most_rtt_ms: float = 200.0
    most_loss: float = 0.05
    most_price: float = 0.2
    max_rtt_ms: float | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.least_rtt_ms < self.most_rtt_ms < math.inf:
            raise ValueError(f"class {self.name}: least_rtt_ms must be below most_rtt_ms")
        if not (0 < self.most_loss < 1 and 0 < self.most_price < math.inf):
            raise ValueError(f"class {self.name}: most_loss must be in (0, 1), most_price above 0")


@dataclass(frozen=True, slots=True)
class Hop:
    """One tunnel of a way, seen from where the way comes from. `price` of a gigabyte over both its uplinks."""

    tunnel: str
    src: int
    dst: int
    measured: Measured = UNMEASURED
    price: float = 0.0
    up: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a score: what was measured (None: nothing), what it costs (0 to 1), and how much that counts."""

    name: str
    value: float | None
    cost: float
    weight: float


@dataclass(frozen=True, slots=True)
class ScoredWay:
    """A candidate with its score. `flaw`: what is wrong with it, a tunnel down or a limit of its class passed."""

    tunnels: tuple[str, ...]
    nodes: tuple[int, ...]
    score: float
    parts: tuple[Part, ...]
    up: bool
    flaw: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.up and not self.flaw

    @property
    def trouble(self) -> str:
        """Why it serves its class badly: a flaw, or delay or loss that costs all it can; "" where it does not."""
        if self.flaw:
            return self.flaw
        worst = {part.name: part.value for part in self.parts if part.cost >= 1.0}
        if (rtt_ms := worst.get("latency")) is not None:
            return f"its round trip is {_said(rtt_ms, 'ms')}"
        if (loss := worst.get("loss")) is not None:
            return f"its loss is {_said(100 * loss, '%')}"
        return ""

    @property
    def order(self) -> tuple[bool, bool, float, int, tuple[str, ...]]:
        """Ways sort by this, best first."""
        return not self.up, bool(self.flaw), self.score, len(self.tunnels), self.tunnels


def score(
    hops: Sequence[Hop],
    app: AppClass,
    busy: Mapping[int, float],
    expected_mbps: float = 0.0,
    free_mbps: float | None = None,
) -> ScoredWay:
    """Score one way. `busy`: the load of machines, 0 to 1; `expected_mbps`: what the class will send over it.

    `free_mbps` is what the narrowest of its uplinks has left for that; None: nobody has said what they carry. Of a
    tunnel, what nobody has measured costs all that it can: unknown is not good.
    """
    weights = app.weights
    rtt = _sum([_late(hop.measured) for hop in hops])
    lost = _loss(hops)
    price = sum(hop.price for hop in hops)
    relays = tuple(hop.dst for hop in hops[:-1])
    load = max((busy.get(relay, 0.0) for relay in relays), default=0.0)
    parts = (
        Part(
            "latency",
            rtt,
            1.0 if rtt is None else rtt_cost(rtt, app.least_rtt_ms, app.most_rtt_ms),
            weights.latency,
        ),
        Part("loss", lost, 1.0 if lost is None else loss_cost(lost, app.most_loss), weights.loss),
        Part("bandwidth", free_mbps, _room_cost(free_mbps, expected_mbps), weights.bandwidth),
        Part("price", price, min(1.0, price / app.most_price), weights.price),
        Part("relay_load", load if relays else None, load, weights.relay_load),
    )
    total = sum(part.weight * part.cost for part in parts) / sum(part.weight for part in parts)
    up = all(hop.up for hop in hops)
    nodes = (hops[0].src, *(hop.dst for hop in hops))
    return ScoredWay(tuple(hop.tunnel for hop in hops), nodes, total, parts, up, _flaw(app, rtt, lost, up))


def _late(measured: Measured) -> float | None:
    """The round trip with its jitter: what an application has to wait for."""
    return None if measured.rtt_ms is None else measured.rtt_ms + (measured.jitter_ms or 0.0)


def _loss(hops: Sequence[Hop]) -> float | None:
    """Lost on the way there; the way back counts too, half, as what is lost there is asked for again."""
    there = [hop.measured.loss_out for hop in hops]
    back = [hop.measured.loss_in for hop in hops]
    if any(one is None for one in there):
        return None
    known = [one for one in there if one is not None]
    return joined_loss(*known, *(0.5 * one for one in back if one is not None))


def _room_cost(free_mbps: float | None, expected_mbps: float) -> float:
    """The convex cost of load (Fortz-Thorup) of what is expected on what is free, 1 where it is full."""
    if free_mbps is None or expected_mbps <= 0:
        return 0.0 if expected_mbps <= 0 else 0.5
    share = min(_FULL, expected_mbps / max(free_mbps, 1e-3))
    return float(load_penalty(np.array([share]))[0] / _AT_FULL)


def _flaw(app: AppClass, rtt: float | None, lost: float | None, up: bool) -> str:
    if not up:
        return "a tunnel of it is down"
    if app.max_rtt_ms is not None and (rtt is None or rtt > app.max_rtt_ms):
        return f"its round trip is {_said(rtt, 'ms')}, {app.max_rtt_ms:g} ms is the limit"
    if app.max_loss is not None and (lost is None or lost > app.max_loss):
        said = _said(None if lost is None else 100 * lost, "%")
        return f"its loss is {said}, {100 * app.max_loss:g} % is the limit"
    return ""


def _said(value: float | None, unit: str) -> str:
    return "not known" if value is None else f"{value:.1f} {unit}"


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


_AT_FULL = float(load_penalty(np.array([_FULL]))[0])
