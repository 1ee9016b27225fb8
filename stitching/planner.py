"""Finds paths for stitches on what is known now: the fabric, its load, its switches, and what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stitching.admission import Admission
from stitching.damage import Damage
from stitching.kinds import place
from stitching.members import AddressBook
from stitching.network import LinkKey, Network, PortId, reverse
from stitching.path_memory import PathMemory
from stitching.plan import NotPossible, Rooms, Situation
from stitching.policy.ruling import Ruling
from stitching.routes import Pair, Route, default_routes, stitched_routes
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
        self._named = self._seen = False
        self.admission = Admission()
        self.addresses = AddressBook()
        self._ready: frozenset[int] = frozenset()
        self._load_mbps: dict[PortId, float] = {}
        self._demand_mbps: dict[Pair, float] = {}
        self._stitches: tuple[Stitch, ...] = ()
        self._routes: tuple[Network, Ruling, object, Mapping[Pair, Route]] | None = None
        self._usable: tuple[Network, Mapping[LinkKey, float], PathMemory] | None = None
        self._lossy: Mapping[LinkKey, float] = {}
        self._late_ms: Mapping[LinkKey, float] = {}

    def follow(self, network: Network) -> None:
        """The fabric is this now."""
        self.addresses.follow(self.network.hosts, network.hosts)
        self.network, self._seen = network, True
        if network.encrypted_ports != self.ruling.marked:
            self.ruling = replace(self.ruling, marked=network.encrypted_ports)
        self.admission.follow(network)
        self._usable = None

    @property
    def informed(self) -> bool:
        """Whether it was told what the fabric is, and which virtual networks there are."""
        return self._named and self._seen

    def vnets_are(self, directory: Directory) -> None:
        """Hosts belong there from now on."""
        self.directory = directory
        self._named = True

    def switches_are(self, ready: Iterable[int]) -> None:
        """These switches can take rules now."""
        self._ready = frozenset(ready)
        self._usable = None

    def all_ready(self, dpids: Iterable[int]) -> bool:
        """Whether all of these can take rules now."""
        return self._ready.issuperset(dpids)

    def measured(self, port_tx_mbps: Mapping[PortId, float], demand_mbps: Mapping[Pair, float]) -> None:
        """What these ports and pairs sent lately, for plans that are made without a forecast."""
        self._load_mbps.update(port_tx_mbps)
        self._usable = None
        self._demand_mbps = dict(demand_mbps)

    def suspect(self, lossy: Mapping[LinkKey, float], late_ms: Mapping[LinkKey, float]) -> None:
        """Go by what links are suspected of adding to loss and latency, see Situation."""
        if lossy or late_ms or self._lossy or self._late_ms:
            self._lossy, self._late_ms = lossy, late_ms
            self._usable = None

    def suspicion(self, request: StitchRequest, path: Placement) -> float:
        """How much the links of a path are suspected of, by what the request limits."""
        links = dict.fromkeys(min(key, reverse(key)) for key in path.links)
        return sum(self.situation.suspicion_ms(request, links, both_ways=True))

    @property
    def situation(self) -> Situation:
        """The part of the fabric whose switches can take rules now, its load, and what is promised on it."""
        if self._usable is None:
            links = {k: link for k, link in self.network.links.items() if self.all_ready((k[0], k[2]))}
            whole = len(links) == len(self.network.links)
            usable = self.network if whole else replace(self.network, links=links)
            loads = {k: self._load_mbps.get(link.source, 0.0) for k, link in links.items()}
            self._usable = usable, loads, PathMemory()
        return self._situation(*self._usable)

    def _situation(self, network: Network, loads: Mapping[LinkKey, float], paths: PathMemory) -> Situation:
        return Situation(
            network,
            self.directory,
            self.admission.resources,
            loads,
            self.ruling,
            self.addresses.contested,
            self._demand_mbps,
            self.routes_now,
            paths,
            self._lossy,
            self._late_ms,
        )

    def routes_now(self) -> Mapping[Pair, Route]:
        """The links that each pair crosses now, worked out when somebody asks."""
        stitches = tuple((stitch.id, stitch.epoch, stitch.state) for stitch in self._stitches)
        known = self._routes
        # The same network by identity: comparing two takes longer than finding routes.
        if known is None or known[0] is not self.network or known[1] is not self.ruling or known[2] != stitches:
            routes = stitched_routes(default_routes(self.network, self.directory, self.ruling), self._stitches)
            self._routes = known = (self.network, self.ruling, stitches, routes)
        return known[3]

    def stitches_are(self, stitches: Sequence[Stitch]) -> None:
        """These may carry demands."""
        self._stitches = tuple(stitches)

    @property
    def whole(self) -> Situation:
        """The fabric with all its switches, as far as stitches are hurt by what became of it."""
        return self._situation(self.network, {}, PathMemory())

    def path(
        self, request: StitchRequest, without: Sequence[Stitch] = (), before: Placement | None = None
    ) -> Placement:
        """A path over switches that can take rules now; where there is none, one that has to wait for them.

        What the stitches of `without` hold counts as free; before is where the stitch lies now.

        Raises NotPossible.
        """
        now = self.situation
        if without:
            now = replace(now, resources=self.admission.without(without))
        try:
            return place(request, now, before)
        except NotPossible:
            if now.network is self.network:
                raise
        return place(request, replace(now, network=self.network, paths=PathMemory()), before)

    def path_beside(self, request: StitchRequest, resources: Rooms, before: Placement) -> Placement:
        """A path over switches that can take rules now, where this is left to promise. Raises NotPossible."""
        return place(request, replace(self.situation, resources=resources), before)

    def whole_path(self, stitch: Stitch, hurt: Damage) -> Placement:
        """A path for a stitch whose own is hurt: without protection, if need be, rather than over what is gone.

        Nobody can tell whether switches have seen that it is gone. Raises NotPossible.
        """
        try:
            return self.path(stitch.request, (stitch,), stitch.path)
        except NotPossible:
            if not hurt.path_gone:
                raise
            return self.path(replace(stitch.request, protection=Protection.NONE), (stitch,), stitch.path)
