"""Plans as tables for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from pathing.csr import FloatArray
from pathing.dataset import Dataset
from pathing.routing.plan import PlanPaths, RoutingPlan
from pathing.topology import Topology
from ryu_apps.paths.numbers import UNKNOWN, counted, mbps, percent
from ryu_apps.paths.shown import table
from ryu_apps.paths.worth import OnShortestPaths
from ryu_apps.shown import notes

FULLEST = 10
MOST_ROWS = 10
# Links that come this near to the fullest are as full.
_AS_FULL = 1e-3
_EMPTY = 1e-9
# A bound below this share of the plan says nothing.
_TELLING = 0.5
_STATUS = {
    "optimal": "optimal: proven to be within the gap",
    "time limit": "time limit: the best so far, no time to close the gap",
    "greedy": "greedy: no time for more",
    "gap open": "gap open: so few paths a demand keep it from the bound",
}
_FITS_OTHERWISE = (
    "Links overflow, but nothing need be cut: everything fits with more paths a demand (--max-paths), without "
    "--unsplittable, or with more time."
)
_SHORTEST = {"latency_ms": "least latency", "hops": "fewest links, no latency is known"}


def plan(dataset: Dataset, routed: RoutingPlan, shortest: OnShortestPaths, took_s: float) -> list[RenderableType]:
    """How good a plan is, its fullest links, and what does not fit."""
    topology = dataset.topology
    # Asked one by one every path would be made.
    counts = (
        routed.paths.counts() if isinstance(routed.paths, PlanPaths) else Counter(map(len, routed.paths.values()))
    )
    split = ", ".join(f"{times:,} with {paths}" for paths, times in sorted(counts.items()))
    apart = routed.unroutable
    telling = routed.lower_bound >= _TELLING * routed.mlu
    rows = [
        ("network", f"{counted(topology.n_nodes, 'node')}, {counted(topology.n_links, 'link')} (each way is one)"),
        ("demands", f"{len(dataset.demands):,}, {mbps(math.fsum(dataset.demands.values()))} in all"),
        *([("not routed", f"{counted(len(apart), 'demand')}, {mbps(_sum(dataset, routed))}")] if apart else []),
        ("fullest link", percent(routed.mlu)),
        ("fullest link on shortest paths", f"{percent(shortest.mlu)} ({_SHORTEST[shortest.weight]})"),
        ("proven bound", percent(routed.lower_bound) if telling else "too little time for one worth telling"),
        ("gap", percent(_gap(routed)) if telling else UNKNOWN),
        ("mean over links", percent(routed.mean_utilisation)),
        ("paths a demand", split or UNKNOWN),
        ("status", _STATUS[routed.status]),
        ("seconds", f"{took_s:.2f}"),
    ]
    shown: list[RenderableType] = [table("Plan", ("what", "text"), ("value", "text"), rows=rows)]
    if routed.mlu > _EMPTY:
        shown.append(_fullest(topology, routed))
    if routed.excess_mbps:
        shown.extend(_over(dataset, routed))
    if routed.fits_otherwise:
        shown.append(_FITS_OTHERWISE)
    if apart:
        shown.extend(_apart(dataset, routed))
    return [*shown, *notes(dataset.notes)]


def plan_json(dataset: Dataset, routed: RoutingPlan, shortest: OnShortestPaths) -> dict[str, Any]:
    """The whole plan: figures, every link, every demand with its paths."""
    utilisation = _utilisation(dataset.topology, routed)
    return {
        "mlu": routed.mlu,
        "lower_bound": routed.lower_bound,
        "gap": _gap(routed),
        "mlu_on_shortest_paths": shortest.mlu,
        "shortest_by": shortest.weight,
        "mean_utilisation": routed.mean_utilisation,
        "status": routed.status,
        "fits_otherwise": routed.fits_otherwise,
        "notes": dataset.notes,
        "links": [
            {
                "id": link.id,
                "src": link.src,
                "dst": link.dst,
                "capacity_mbps": link.capacity_mbps,
                "load_mbps": float(routed.link_mbps[link.id]),
                "utilisation": float(utilisation[link.id]),
            }
            for link in dataset.topology.links()
        ],
        "demands": [
            {
                "src": src,
                "dst": dst,
                "mbps": mbps,
                "excess_mbps": float(routed.excess_mbps.get((src, dst), 0.0)),
                "paths": [
                    {"nodes": path.nodes, "links": path.links, "share": share}
                    for path, share in routed.paths.get((src, dst), ())
                ],
            }
            for (src, dst), mbps in dataset.demands.items()
        ],
        "unroutable": [
            {"src": src, "dst": dst, "mbps": dataset.demands[src, dst]} for src, dst in routed.unroutable
        ],
    }


def plan_in_one_line(dataset: Dataset, routed: RoutingPlan) -> str:
    """What to write above a picture of it."""
    said = (
        f"{counted(len(dataset.demands), 'demand')}, {mbps(math.fsum(dataset.demands.values()))}: "
        f"the fullest link is at {percent(routed.mlu)}"
    )
    return (
        f"{said}, proven bound {percent(routed.lower_bound)}"
        if routed.lower_bound >= _TELLING * routed.mlu
        else said
    )


def _fullest(topology: Topology, routed: RoutingPlan) -> Table:
    utilisation = _utilisation(topology, routed)
    highest = float(utilisation.max())
    at_most = int((utilisation >= highest * (1 - _AS_FULL)).sum())
    order = [int(link) for link in np.argsort(-utilisation, kind="stable")[:FULLEST] if utilisation[link] > _EMPTY]
    links = [topology.link(link) for link in order]
    verb = "is" if at_most == 1 else "are"
    return table(
        f"Fullest links ({at_most:,} of {topology.n_links:,} {verb} at the maximum)",
        ("link", "number"),
        ("from", "name"),
        ("to", "name"),
        ("load", "number"),
        ("capacity", "number"),
        ("used", "number"),
        rows=(
            (
                link.id,
                link.src,
                link.dst,
                mbps(float(routed.link_mbps[link.id])),
                mbps(link.capacity_mbps),
                percent(float(utilisation[link.id])),
            )
            for link in links
        ),
    )


def _over(dataset: Dataset, routed: RoutingPlan) -> list[RenderableType]:
    excess = sorted(routed.excess_mbps.items(), key=lambda item: (-item[1], item[0]))
    total, cut = mbps(math.fsum(routed.excess_mbps.values())), counted(len(excess), "demand")
    verb = "is" if len(excess) == 1 else "are"
    said = f"Above capacity: everything fits when {cut} {verb} cut by {total}{_cut(len(excess))}"
    columns = (("from", "name"), ("to", "name"), ("demand", "number"), ("too much by", "number"))
    rows = ((*pair, mbps(dataset.demands[pair]), mbps(too_much)) for pair, too_much in excess[:MOST_ROWS])
    return [said, table("Above capacity", *columns, rows=rows)]  # type: ignore[arg-type]  # literals


def _apart(dataset: Dataset, routed: RoutingPlan) -> list[RenderableType]:
    count = len(routed.unroutable)
    said = f"Not routed: no way joins the ends of {counted(count, 'demand')}{_cut(count)}"
    columns = (("from", "name"), ("to", "name"), ("demand", "number"))
    rows = ((*pair, mbps(dataset.demands[pair])) for pair in routed.unroutable[:MOST_ROWS])
    return [said, table("Not routed", *columns, rows=rows)]  # type: ignore[arg-type]  # literals


def _sum(dataset: Dataset, routed: RoutingPlan) -> float:
    return math.fsum(dataset.demands[pair] for pair in routed.unroutable)


def _cut(rows: int) -> str:
    return f"; these are {MOST_ROWS} of them:" if rows > MOST_ROWS else ":"


def _utilisation(topology: Topology, routed: RoutingPlan) -> FloatArray:
    share: FloatArray = routed.link_mbps / topology.array("capacity_mbps")
    return share


def _gap(routed: RoutingPlan) -> float:
    """How far the plan is above what is proven, as a share of that."""
    return max(0.0, routed.mlu / routed.lower_bound - 1.0) if routed.lower_bound > 0 else 0.0
