"""Paths and plans as tables for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from pathing.csr import FloatArray
from pathing.dataset import Dataset
from pathing.disjoint import DisjointPaths
from pathing.path import Path
from pathing.routing.plan import RoutingPlan
from pathing.topology import Topology

FULLEST = 10
MOST_ROWS = 10
MOST_NOTES = 3
_UNKNOWN = "-"
_NEGLIGIBLE = 1e-9


def paths(
    dataset: Dataset, found: Sequence[Path], weight: str, together: DisjointPaths | None
) -> list[RenderableType]:
    """Figures of each path, its nodes and links, and for disjoint ones what they have in common."""
    topology = dataset.topology
    columns = ("", "latency ms", "loss", "hops", "narrowest Mbit/s", f"weight ({weight})")
    rows = (
        (
            number,
            _number(path.latency_ms(topology)),
            f"{path.loss(topology):.3g}",
            path.hops,
            _number(_finite(path.capacity_mbps(topology))),
            _number(path.weight),
        )
        for number, path in enumerate(found, start=1)
    )
    shown: list[RenderableType] = [_table(f"{found[0].src} to {found[0].dst}", *columns, rows=rows)]
    for number, path in enumerate(found, start=1):
        links = f"  [dim](links {' '.join(str(link) for link in path.links)})[/]" if path.links else ""
        shown.append(f"{number}: {escape(' > '.join(path.nodes))}{links}")
    if together is not None:
        shown.append(escape(_in_common(topology, together)))
    return [*shown, *_notes(dataset)]


def paths_json(
    topology: Topology, found: Sequence[Path], weight: str, together: DisjointPaths | None
) -> dict[str, Any]:
    """The same with every figure; links are ids, in the order of the file."""
    answer: dict[str, Any] = {
        "by": weight,
        "paths": [
            {
                "nodes": path.nodes,
                "links": path.links,
                "latency_ms": path.latency_ms(topology),
                "loss": path.loss(topology),
                "hops": path.hops,
                "capacity_mbps": _finite(path.capacity_mbps(topology)),
                "weight": path.weight,
            }
            for path in found
        ],
    }
    if together is not None:
        shared = {"links": together.shared.links, "nodes": together.shared.nodes, "groups": together.shared.groups}
        answer |= {"weight": together.weight, "lower_bound": together.lower_bound, "shared": shared}
    return answer


def plan(dataset: Dataset, routed: RoutingPlan, took_s: float) -> list[RenderableType]:
    """How good a plan is, its fullest links, and what does not fit."""
    topology = dataset.topology
    counts = Counter(len(shares) for shares in routed.paths.values())
    split = ", ".join(f"{times} with {paths}" for paths, times in sorted(counts.items()))
    summary = _table("Plan", "what", "value", rows=(
        ("network", f"{topology.n_nodes} nodes, {topology.n_links} links (each way is one)"),
        ("demands", f"{len(dataset.demands)}, {_number(math.fsum(dataset.demands.values()))} Mbit/s"),
        ("fullest link", f"{routed.mlu:.3%}"),
        ("proven bound", f"{routed.lower_bound:.3%}"),
        ("gap", f"{_gap(routed):.4%}"),
        ("mean over links", f"{routed.mean_utilisation:.3%}"),
        ("paths a demand", split or _UNKNOWN),
        ("status", routed.status),
        ("seconds", f"{took_s:.2f}"),
    ))  # fmt: skip
    shown: list[RenderableType] = [summary, _fullest(topology, routed)]
    if routed.excess_mbps:
        shown.extend(_over(dataset, routed))
    if routed.unroutable:
        shown.extend(_apart(dataset, routed))
    return [*shown, *_notes(dataset)]


def plan_json(dataset: Dataset, routed: RoutingPlan) -> dict[str, Any]:
    """The whole plan: figures, every link, every demand with its paths."""
    utilisation = _utilisation(dataset.topology, routed)
    return {
        "mlu": routed.mlu,
        "lower_bound": routed.lower_bound,
        "gap": _gap(routed),
        "mean_utilisation": routed.mean_utilisation,
        "status": routed.status,
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
    }


def plan_in_one_line(dataset: Dataset, routed: RoutingPlan) -> str:
    """What to write above a picture of it."""
    total_mbps = math.fsum(dataset.demands.values())
    return (
        f"{len(dataset.demands)} demands, {total_mbps:.4g} Mbit/s: the fullest link is at {routed.mlu:.1%}, "
        f"proven bound {routed.lower_bound:.1%}"
    )


def _in_common(topology: Topology, together: DisjointPaths) -> str:
    least = (
        "no such paths weigh less"
        if together.weight <= together.lower_bound * (1 + _NEGLIGIBLE)
        else f"no such paths weigh less than {_number(together.lower_bound)}"
    )
    shared = together.shared
    links = [topology.link(link) for link in shared.links]
    parts = (
        ("links", [f"{link.src}:{link.dst} (link:{link.id})" for link in links]),
        ("nodes", shared.nodes),
        ("groups", [str(group) for group in shared.groups]),
    )
    common = "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names) or "nothing"
    return f"In common: {common}. Total weight {_number(together.weight)}; {least}."


def _fullest(topology: Topology, routed: RoutingPlan) -> Table:
    utilisation = _utilisation(topology, routed)
    order = np.argsort(-utilisation, kind="stable")[:FULLEST]
    links = [topology.link(int(link)) for link in order]
    return _table("Fullest links", "link", "from", "to", "load Mbit/s", "capacity Mbit/s", "used", rows=(
        (
            link.id,
            link.src,
            link.dst,
            _number(float(routed.link_mbps[link.id])),
            _number(link.capacity_mbps),
            f"{utilisation[link.id]:.2%}",
        )
        for link in links
    ))  # fmt: skip


def _over(dataset: Dataset, routed: RoutingPlan) -> list[RenderableType]:
    excess = sorted(routed.excess_mbps.items(), key=lambda item: (-item[1], item[0]))
    total = _number(math.fsum(routed.excess_mbps.values()))
    said = (
        f"Above capacity: everything fits when {len(excess)} demands are cut by {total} Mbit/s{_cut(len(excess))}"
    )
    return [said, _table("Above capacity", "from", "to", "Mbit/s", "too much by Mbit/s", rows=(
        (*pair, _number(dataset.demands[pair]), _number(mbps)) for pair, mbps in excess[:MOST_ROWS]
    ))]  # fmt: skip


def _apart(dataset: Dataset, routed: RoutingPlan) -> list[RenderableType]:
    count = len(routed.unroutable)
    said = f"Not routed: no way joins the ends of {count} demands{_cut(count)}"
    return [said, _table("Not routed", "from", "to", "Mbit/s", rows=(
        (*pair, _number(dataset.demands[pair])) for pair in routed.unroutable[:MOST_ROWS]
    ))]  # fmt: skip


def _cut(rows: int) -> str:
    return f"; these are {MOST_ROWS} of them:" if rows > MOST_ROWS else ":"


def _utilisation(topology: Topology, routed: RoutingPlan) -> FloatArray:
    share: FloatArray = routed.link_mbps / topology.array("capacity_mbps")
    return share


def _gap(routed: RoutingPlan) -> float:
    """How far the plan is above what is proven, as a share of that."""
    return max(0.0, routed.mlu / routed.lower_bound - 1.0) if routed.lower_bound > 0 else 0.0


def _notes(dataset: Dataset) -> list[str]:
    """What the reader of the file left out or assumed."""
    notes = [f"[dim]note: {escape(note)}[/]" for note in dataset.notes[:MOST_NOTES]]
    more = len(dataset.notes) - len(notes)
    return [*notes, f"[dim]note: and {more} more like these[/]"] if more > 0 else notes


def _table(title: str, *columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        # Folded, not cut: what stands in a table can be copied from it.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.6g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
