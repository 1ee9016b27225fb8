"""Paths as tables for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.text import Text

from pathing.dataset import Dataset
from pathing.disjoint import DisjointPaths
from pathing.path import Path
from pathing.topology import Topology
from ryu_apps.paths.numbers import chain, counted, digits, mbps
from ryu_apps.paths.shown import table
from ryu_apps.shown import notes

_NEGLIGIBLE = 1e-9
_WEIGHT_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Hops:
    """A path in lines that break between nodes."""

    label: str
    path: Path
    ids: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in chain(self.label, self.path.nodes, options.max_width):
            yield Text(line, no_wrap=True, overflow="ignore")
        if self.ids and self.path.links:
            words = " ".join(f"link:{link}" for link in self.path.links)
            yield Text(f"{' ' * len(self.label)}({words})", style="dim")


def paths(
    dataset: Dataset, found: Sequence[Path], weight: str, together: DisjointPaths | None, ids: bool
) -> list[RenderableType]:
    """Figures of each path, its nodes and on demand its links, and for disjoint ones what they have in common."""
    topology = dataset.topology
    figures = table(
        f"{found[0].src} to {found[0].dst}",
        ("", "number"),
        ("latency ms", "number"),
        ("loss", "number"),
        ("hops", "number"),
        ("narrowest", "number"),
        (f"weight ({weight})", "number"),
        rows=(
            (
                number,
                digits(path.latency_ms(topology)),
                digits(path.loss(topology), 3),
                path.hops,
                mbps(path.capacity_mbps(topology)),
                digits(path.weight, _WEIGHT_DIGITS),
            )
            for number, path in enumerate(found, start=1)
        ),
    )
    shown: list[RenderableType] = [figures]
    shown.extend(Hops(f"{number}: ", path, ids) for number, path in enumerate(found, start=1))
    if together is not None:
        shown.append(escape(_in_common(topology, together)))
    return [*shown, *notes(dataset.notes)]


def paths_json(
    dataset: Dataset, found: Sequence[Path], weight: str, together: DisjointPaths | None
) -> dict[str, Any]:
    """The same with every figure; links are ids, in the order of the file."""
    topology = dataset.topology
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
        "notes": dataset.notes,
    }
    if together is not None:
        shared = {"links": together.shared.links, "nodes": together.shared.nodes, "groups": together.shared.groups}
        answer |= {"weight": together.weight, "lower_bound": together.lower_bound, "shared": shared}
    return answer


def weight_notes(topology: Topology, weight: str) -> list[str]:
    """Say so where the file says nothing of what is to be least, and every link counts the same."""
    if weight in {"hops", "latency_ms"} or not topology.n_links:  # of latencies the readers tell
        return []
    values = topology.array(weight)
    if np.isnan(values).all():
        return [f"no link has a {weight}: each is charged as 1, so that fewest links win"]
    if weight in {"loss", "utilisation"} and not values.any():
        return [f"no link has a {weight} above 0: all paths weigh the same"]
    if weight == "cost" and (values == 1).all():
        return ["every link has a cost of 1: fewest links win"]
    return []


def group_notes(topology: Topology) -> list[str]:
    """Say so where no link has a shared-risk group."""
    if any(link.srlg for link in topology.links()):
        return []
    return ["no link has a shared-risk group: each is a risk of its own, as with --by link"]


def _in_common(topology: Topology, together: DisjointPaths) -> str:
    least = (
        "no such paths weigh less"
        if together.weight <= together.lower_bound * (1 + _NEGLIGIBLE)
        else f"no such paths weigh less than {digits(together.lower_bound, _WEIGHT_DIGITS)}"
    )
    shared = together.shared
    links = [topology.link(link) for link in shared.links]
    uses = [sum(link.id in path.links for path in together.paths) for link in links]
    parts = (
        (
            "links",
            [
                f"{link.src}:{link.dst} (link:{link.id}{f', by {count}' if len(together.paths) > 2 else ''})"
                for link, count in zip(links, uses, strict=True)
            ],
        ),
        ("nodes", shared.nodes),
        ("groups", [str(group) for group in shared.groups]),
    )
    common = "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names) or "nothing"
    sides = "" if together.fewest else " (less may be possible)"
    return f"In common: {common}{sides}. Total weight {digits(together.weight, _WEIGHT_DIGITS)}; {least}."


def fewer_than_asked(found: Sequence[Path], asked: int) -> list[str]:
    """Say so where there are no more paths."""
    return [f"there are no more than {counted(len(found), 'path')}"] if len(found) < asked else []


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
