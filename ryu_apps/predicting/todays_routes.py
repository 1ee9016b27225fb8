"""Which links each demand crosses now, kept in step with the fabric, the virtual networks and the stitches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from stitching.network import LinkKey, Network
from stitching.policy.document import NO_POLICY, Policy
from stitching.policy.ruling import Ruling
from stitching.routes import CARRYING, Pair, Route, default_routes, link_loads, stitched_routes
from stitching.stitch import Stitch
from stitching.vnet import Directory, VNet

Floats = npt.NDArray[np.float64]


class TodaysRoutes:
    """Routes, worked out when they are needed; `changed`: they may be others than the loads were made of."""

    def __init__(self) -> None:
        self.changed = True
        self._network = Network()
        self._directory = Directory.of(())
        self._policy: tuple[Policy, float] = (NO_POLICY, 0.0)
        self._stitches: tuple[Stitch, ...] = ()
        self._routes: dict[Pair, Route] = {}

    @property
    def links(self) -> tuple[LinkKey, ...]:
        """The links of the fabric."""
        return self._network.link_order

    @property
    def carrying(self) -> frozenset[tuple[int, int]]:
        """The stitches, by id and epoch, that demands are on."""
        return frozenset((stitch.id, stitch.epoch) for stitch in self._stitches if stitch.state in CARRYING)

    def on_network(self, network: Network) -> None:
        """The fabric is another one."""
        self._network, self.changed = network, True

    def on_vnets(self, vnets: Iterable[VNet]) -> None:
        """Others may talk to each other."""
        self._directory, self.changed = Directory.of(vnets), True

    def on_policy(self, policy: Policy, time_s: float) -> None:
        """Others may talk to each other."""
        self._policy, self.changed = (policy, time_s), True

    def on_stitches(self, stitches: tuple[Stitch, ...]) -> None:
        """A demand with a stitch is on the path of the stitch."""
        before, self._stitches = self.carrying, stitches
        self.changed |= before != self.carrying

    def refresh(self) -> None:
        """Work the routes out, where they may be others."""
        if self.changed:
            policy, time_s = self._policy
            ruling = Ruling(policy, self._directory, time_s)
            self._routes = stitched_routes(default_routes(self._network, self._directory, ruling), self._stitches)

    def loads(self, demands: Floats, pairs: tuple[Pair, ...], links: tuple[LinkKey, ...]) -> Floats:
        """What links carry of demands (n_pairs, T): (n_links, T), NaN where a demand on them is not known."""
        return link_loads(demands, pairs, links, self._routes)
