"""Finds paths for stitches on what is known now: the fabric, its load, its switches, and what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stitching.admission import Admission
from stitching.damage import Damage
from stitching.kinds import place
from stitching.labels import free_label, paths_of
from stitching.network import Network, PortId
from stitching.plan import NotPossible, Situation
from stitching.policy.ruling import Ruling
from stitching.stitch import Placement, Protection, Stitch, StitchRequest
from stitching.vnet import Directory


class Duplicate(NotPossible):
    """The packets it is to carry have a stitch already."""


class Planner:
    """What plans are made on. `ready` are the switches that can take rules now; ruling is what the policy says."""

    def __init__(self) -> None:
        self.network = Network()
        self.directory = Directory.of(())
        self.ruling = Ruling()
        self.admission = Admission()
        self._ready: frozenset[int] = frozenset()
        self._load_mbps: dict[PortId, float] = {}
        self._usable: Network | None = None

    def follow(self, network: Network) -> None:
        """The fabric is this now."""
        self.network = network
        self.admission.follow(network)
        self._usable = None

    def switches_are(self, ready: Iterable[int]) -> None:
        """These switches can take rules now."""
        self._ready = frozenset(ready)
        self._usable = None

    def all_ready(self, dpids: Iterable[int]) -> bool:
        """Whether all of these can take rules now."""
        return self._ready.issuperset(dpids)

    def measured(self, port_tx_mbps: Mapping[PortId, float]) -> None:
        """What these ports sent lately, for plans that are made without a forecast."""
        self._load_mbps.update(port_tx_mbps)

    @property
    def situation(self) -> Situation:
        """The part of the fabric whose switches can take rules now, its load, and what is promised on it."""
        if self._usable is None:
            links = {k: link for k, link in self.network.links.items() if self.all_ready((k[0], k[2]))}
            whole = len(links) == len(self.network.links)
            self._usable = self.network if whole else replace(self.network, links=links)
        loads = {k: self._load_mbps.get(link.source, 0.0) for k, link in self._usable.links.items()}
        return Situation(self._usable, self.directory, self.admission.resources, loads, self.ruling)

    def path(self, request: StitchRequest, without: Sequence[Stitch] = ()) -> Placement:
        """A path over switches that can take rules now; where there is none, one that has to wait for them.

        What the stitches of `without` hold counts as free. Raises NotPossible.
        """
        now = self.situation
        if without:
            now = replace(now, resources=self.admission.without(without))
        try:
            return place(request, now)
        except NotPossible:
            if now.network is self.network:
                raise
        return place(request, replace(now, network=self.network))

    def whole_path(self, stitch: Stitch, hurt: Damage) -> Placement:
        """A path for a stitch whose own is hurt: without protection, if need be, rather than over what is gone.

        Nobody can tell whether switches have seen that it is gone. Raises NotPossible.
        """
        try:
            return self.path(stitch.request, without=(stitch,))
        except NotPossible:
            if not hurt.path_gone:
                raise
            return self.path(replace(stitch.request, protection=Protection.NONE), without=(stitch,))

    def labelled(self, stitch: Stitch, path: Placement, stitches: Iterable[Stitch]) -> Stitch:
        """The stitch on a new path, with a label that none of the others has between its hosts."""
        epoch = (stitch.epoch + 1) & 0xFFFF
        label = free_label(stitch.request, epoch, paths_of(stitches))
        return replace(stitch, path=replace(path, label=label), epoch=epoch)
