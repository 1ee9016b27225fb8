"""Which links each demand crosses now: the shortest way, or its stitch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from stitching import kinds
from stitching.network import LinkKey, Network
from stitching.pipeline import next_links, walk
from stitching.policy.ruling import Ruling
from stitching.stitch import State, Stitch
from stitching.vnet import Directory

Pair = tuple[str, str]
Route = tuple[LinkKey, ...]

CARRYING = frozenset({State.ESTABLISHING, State.ADJUSTING, State.UP, State.DEGRADED})
"""States in which the demand of a stitch is on its path, or is within milliseconds."""


def default_routes(network: Network, directory: Directory, ruling: Ruling | None = None) -> dict[Pair, Route]:
    """The shortest way of every pair of hosts that may talk; pairs that cannot reach each other are absent.

    Without a ruling it is as if there were no policy.
    """
    ruling = ruling or Ruling(directory=directory)
    towards = {dpid: next_links(network, dpid) for dpid in {host.dpid for host in network.hosts.values()}}
    routes: dict[Pair, Route] = {}
    for source in network.hosts.values():
        for target in network.hosts.values():
            if source.mac == target.mac or not ruling.may_send(source, target):
                continue
            route = walk(source.dpid, target.dpid, towards[target.dpid])
            if route is not None:
                routes[source.mac, target.mac] = route
    return routes


def stitched_routes(routes: Mapping[Pair, Route], stitches: Iterable[Stitch]) -> dict[Pair, Route]:
    """The routes with every demand that a stitch carries on the path of that stitch."""
    routed = dict(routes)
    for stitch in stitches:
        if stitch.state in CARRYING:
            routed.update(kinds.routes(stitch))
    return routed


def link_loads(
    demands: npt.NDArray[np.float64],
    pairs: tuple[Pair, ...],
    links: tuple[LinkKey, ...],
    routes: Mapping[Pair, Route],
) -> npt.NDArray[np.float64]:
    """What each link would have carried: (n_links, T) from demands (n_pairs, T), both in Mbit/s.

    A demand that was not measured at a time makes its links unknown at that time, not idle.
    """
    row = {key: index for index, key in enumerate(links)}
    crosses = np.zeros((len(links), len(pairs)))
    for column, pair in enumerate(pairs):
        for key in routes.get(pair, ()):
            if key in row:
                crosses[row[key], column] = 1.0
    missing = np.isnan(demands)
    loads = crosses @ np.where(missing, 0.0, demands)
    return np.where(crosses @ missing > 0, np.nan, loads)
