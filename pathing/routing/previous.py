"""The routing there is now: what of it can stay, and how much a new plan moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray, IndexArray
from pathing.routing.network import Network, Pair, RoutingError
from pathing.routing.plan import PlanPaths, Shares
from pathing.routing.ragged import Ragged
from pathing.routing.split import Split


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Demands cut into what must be moved as one: `fractions` of the demands `owners`, now on the paths `base`.

    `counted` says whether a part has a way of its own to stay on: leaving that is what `max_moved` limits.
    """

    owners: IndexArray
    fractions: FloatArray
    base: Ragged
    counted: NDArray[np.bool_]


def standing(
    paths: Mapping[Pair, Shares], pairs: Sequence[Pair], ends: tuple[IndexArray, IndexArray], network: Network
) -> Split:
    """Give what of a previous plan the demands `pairs` (node indexes `ends`) can stay on, by their numbers.

    Fractions of a demand add up to less than 1 where a link of its way is down now. Raises `RoutingError` for a
    plan that is of another topology.
    """
    split = _by_number(paths, pairs)
    _check(split, pairs, ends, network)
    up = np.ones(len(split.paths), dtype=np.bool_)
    up[split.paths.owners[~network.usable[split.paths.links]]] = False
    return split.take(np.flatnonzero(up))


def parts(kept: Split, default: Ragged) -> Parts:
    """Cut demands where the plan before splits them; what cannot stay is free to go from its default path."""
    everyone = np.arange(len(default))
    free = 1.0 - np.bincount(kept.owners, weights=kept.fractions, minlength=everyone.size)
    loose = np.flatnonzero(free > 1e-9)
    owners = np.concatenate((kept.owners, everyone[loose]))
    order = np.argsort(owners, kind="stable")
    base = Ragged.join([kept.paths, default.take(loose)]).take(order)
    fractions = np.concatenate((kept.fractions, free[loose]))[order]
    return Parts(owners[order], fractions, base, (np.arange(owners.size) < kept.owners.size)[order])


def moved_share(kept: Split, split: Split, volumes: FloatArray) -> float:
    """Give the share of all traffic that leaves a path it could have stayed on; `volumes` (n_demands,) in Mbit/s.

    For a demand whose ways all stand that is half the sum of the changes of its fractions.
    """
    total = float(volumes.sum())
    if total <= 0:
        return 0.0
    now: dict[tuple[int, bytes], float] = {}
    for entry, owner in enumerate(split.owners.tolist()):
        now[owner, split.paths.path(entry).tobytes()] = float(split.fractions[entry])
    before: dict[tuple[int, bytes], float] = {}
    for entry, owner in enumerate(kept.owners.tolist()):
        key = owner, kept.paths.path(entry).tobytes()
        before[key] = before.get(key, 0.0) + float(kept.fractions[entry])
    moved = sum(max(0.0, share - now.get(key, 0.0)) * float(volumes[key[0]]) for key, share in before.items())
    return moved / total


def _by_number(paths: Mapping[Pair, Shares], pairs: Sequence[Pair]) -> Split:
    if isinstance(paths, PlanPaths):
        return paths.numbered(pairs)
    owners, fractions, links = [], [], []
    for number, pair in enumerate(pairs):
        for path, fraction in paths.get(pair, ()):
            owners.append(number)
            fractions.append(fraction)
            links.append(path.links)
    flat = np.array([link for path in links for link in path], dtype=np.intp)
    offsets = np.append(0, np.cumsum([len(path) for path in links], dtype=np.intp))
    return Split(Ragged(flat, offsets), np.array(owners, dtype=np.intp), np.array(fractions, dtype=np.float64))


def _check(split: Split, pairs: Sequence[Pair], ends: tuple[IndexArray, IndexArray], network: Network) -> None:
    links, offsets = split.paths.links, split.paths.offsets
    sums = np.bincount(split.owners, weights=split.fractions, minlength=len(pairs))
    wrong = split.owners[~((split.fractions >= 0) & (sums[split.owners] <= 1 + 1e-6) & (split.paths.lengths > 0))]
    if not wrong.size and links.size and (links.min() < 0 or links.max() >= network.n_links):
        wrong = split.owners[split.paths.owners[(links < 0) | (links >= network.n_links)]]
    if not wrong.size and links.size:
        before, after = network.heads[links[:-1]], network.tails[links[1:]]
        inside = np.ones(links.size, dtype=np.bool_)
        inside[offsets[1:] - 1] = False
        broken = np.flatnonzero(inside[:-1] & (before != after))
        astray = (network.tails[links[offsets[:-1]]] != ends[0][split.owners]) | (
            network.heads[links[offsets[1:] - 1]] != ends[1][split.owners]
        )
        wrong = np.append(split.owners[astray], split.owners[split.paths.owners[broken]])
    if wrong.size:
        src, dst = pairs[int(wrong[0])]
        raise RoutingError(
            f"previous: the paths of {src!r} -> {dst!r} are none in this topology; give a plan made for it"
        )
