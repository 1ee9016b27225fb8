"""Who was promised what: every stitch books its links here before a rule of it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pathing import Oversubscribed, Resources
from stitching.network import LinkKey, Network
from stitching.plan import links_to_reserve
from stitching.stitch import Stitch, StitchPath

ONE_BIT_MBPS = 1e-6
"""Bookings are whole bits a second."""


class Admission:
    """The bookings of all stitches. No link is promised more than it has, also while a stitch changes its path."""

    def __init__(self) -> None:
        self.resources: Resources[LinkKey] = Resources()
        self._links: Mapping[LinkKey, object] = {}

    def follow(self, network: Network) -> None:
        """Take over what links carry. One of unknown capacity keeps its promises and gets no more."""
        self._links = network.links
        for key, link in network.links.items():
            mbps = link.capacity_mbps
            self.resources.set_capacity(key, self._promised(key) if mbps is None else mbps)

    def book(self, stitch: Stitch, path: StitchPath) -> None:
        """Promise a stitch its bandwidth on a path. Raises Oversubscribed where a link has too little left."""
        if keys := links_to_reserve(stitch.request, path):
            self.resources.reserve(stitch.id, keys, stitch.request.bandwidth_mbps)

    def book_again(self, stitch: Stitch, path: StitchPath) -> None:
        """Promise what a stitch was promised before a restart, also on links that were not found again yet."""
        for key in set(links_to_reserve(stitch.request, path)) - set(self._links):
            # The link will say what it carries when it is found.
            self.resources.set_capacity(key, self._promised(key) + stitch.request.bandwidth_mbps)
        self.book(stitch, path)

    def move(self, before: Stitch, after: Stitch) -> None:
        """Book the new path of a stitch and keep the old one until `settle`: both may carry for a while.

        Raises Oversubscribed, and all is as it was, where the new path has too little left.
        """
        old, new = _links(before), _links(after)
        self.resources.release(before.id)
        try:
            if new:
                self.resources.reserve(after.id, new, after.request.bandwidth_mbps)
        except Oversubscribed:
            if old:
                self.resources.reserve(before.id, old, before.request.bandwidth_mbps)
            raise
        if left := tuple(key for key in old if key not in new):
            self.resources.reserve(_leaving(before.id), left, before.request.bandwidth_mbps)

    def move_back(self, before: Stitch) -> None:
        """The change came to nothing: the stitch holds its old path and no other. May raise Oversubscribed."""
        self.free(before.id)
        if keys := _links(before):
            self.resources.reserve(before.id, keys, before.request.bandwidth_mbps)

    def settle(self, stitch_id: int) -> None:
        """The new path carries: what was held on the old one is free."""
        self.resources.release(_leaving(stitch_id))

    def resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the same path. Raises Oversubscribed."""
        if _links(stitch):
            self.resources.resize(stitch.id, bandwidth_mbps)

    def free(self, stitch_id: int) -> None:
        """Take back all that a stitch holds."""
        self.resources.release(stitch_id)
        self.resources.release(_leaving(stitch_id))

    def _promised(self, key: LinkKey) -> float:
        return self.resources.reserved(key) if key in self.resources else 0.0

    def too_much(self, stitches: Iterable[Stitch], *, first: str) -> list[Stitch]:
        """Which stitches must go for every link to carry what it still promises, after a capacity shrank.

        Those of the origin `first` go first, then the youngest.
        """
        excess = self.resources.overcommitted()
        going = []
        for stitch in sorted(stitches, key=lambda s: (s.request.origin != first, -s.id)):
            booked = self.resources.reservation(stitch.id)
            if booked is None or not any(excess.get(key, 0.0) >= ONE_BIT_MBPS for key in booked.keys):
                continue
            going.append(stitch)
            for key in booked.keys:
                if key in excess:
                    excess[key] -= booked.mbps
        return going


def _links(stitch: Stitch) -> tuple[LinkKey, ...]:
    return links_to_reserve(stitch.request, stitch.path) if stitch.path is not None else ()


def _leaving(stitch_id: int) -> tuple[str, int]:
    """The owner of what a stitch still holds on the path it leaves."""
    return "leaving", stitch_id
