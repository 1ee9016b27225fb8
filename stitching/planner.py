"""Finds paths for stitches on what is known now: the fabric, its load, its switches, and what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stitching.admission import Admission
from stitching.application import Application
from stitching.damage import Damage
from stitching.labels import free_label, paths_of
from stitching.network import Network, PortId
from stitching.plan import NotPossible, Situation, plan_path
from stitching.policy.ruling import Ruling
from stitching.stitch import Protection, Stitch, StitchPath, StitchRequest
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

    def path(self, request: StitchRequest, without: Sequence[Stitch] = ()) -> StitchPath:
        """A path over switches that can take rules now; where there is none, one that has to wait for them.

        What the stitches of `without` hold counts as free. Raises NotPossible.
        """
        now = self.situation
        if without:
            now = replace(now, resources=self.admission.without(without))
        try:
            return plan_path(request, now)
        except NotPossible:
            if now.network is self.network:
                raise
        return plan_path(request, replace(now, network=self.network))

    def whole_path(self, stitch: Stitch, hurt: Damage) -> StitchPath:
        """A path for a stitch whose own is hurt: without protection, if need be, rather than over what is gone.

        Nobody can tell whether switches have seen that it is gone. Raises NotPossible.
        """
        try:
            return self.path(stitch.request, without=(stitch,))
        except NotPossible:
            if not hurt.path_gone:
                raise
            return self.path(replace(stitch.request, protection=Protection.NONE), without=(stitch,))

    def labelled(self, stitch: Stitch, path: StitchPath, stitches: Iterable[Stitch]) -> Stitch:
        """The stitch on a new path, with a label that none of the others has between its hosts."""
        epoch = (stitch.epoch + 1) & 0xFFFF
        label = free_label(stitch.request, epoch, paths_of(stitches))
        return replace(stitch, path=replace(path, label=label), epoch=epoch)


def rivals(request: StitchRequest, stitches: Iterable[Stitch]) -> list[Stitch]:
    """Those that would carry packets which this one is to carry, with no telling whose they are."""
    return [other for other in stitches if collide(request, other.request)]


def collide(one: StitchRequest, other: StitchRequest) -> bool:
    """Whether some packets would be of both, with no telling whose they are."""
    ours = zip(one.directions, _applications(one), strict=False)
    theirs = dict(zip(other.directions, _applications(other), strict=False))
    for pair, application in ours:
        if pair not in theirs:
            continue
        rival = theirs[pair]
        if application is None or rival is None:
            # One application beside all the rest: the narrower has its packets.
            if application is rival:
                return True
        elif application.narrowness == rival.narrowness and application.overlaps(rival):
            return True
    return False


def _applications(request: StitchRequest) -> tuple[Application | None, Application | None]:
    application = request.application
    return (application, application.back if application is not None else None)
