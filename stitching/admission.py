"""Who was promised what: every stitch books its links here before a rule of it is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pathing import Oversubscribed, Reservation, Resources
from stitching.kinds import links_to_reserve
from stitching.network import LinkKey, Network
from stitching.stitch import Placement, Stitch

ONE_BIT_MBPS = 1e-6
"""Bookings are whole bits a second."""


@dataclass(frozen=True, slots=True)
class Without:
    """What is left of resources, with what some owners hold counted as free."""

    resources: Resources[LinkKey]
    owners: tuple[Hashable, ...]

    def free(self, key: LinkKey) -> float:
        """Mbit/s left to promise on a link."""
        return self.resources.free(key, without=self.owners)


class Admission:
    """The bookings of all stitches. No link is promised more than it has, also while a stitch changes its path.

    What a stitch no longer wants, but may still carry, is booked as `leaving` until its rules are gone.
    """

    def __init__(self) -> None:
        self.resources: Resources[LinkKey] = Resources()
        self._links: Mapping[LinkKey, object] = {}
        self._yielding: defaultdict[int, list[Hashable]] = defaultdict(list)

    def follow(self, network: Network) -> None:
        """Take over what links carry. One of unknown capacity keeps its promises and gets no more."""
        self._links = network.links
        for key, link in network.links.items():
            mbps = link.capacity_mbps
            self.resources.set_capacity(key, self._promised(key) if mbps is None else mbps)

    @contextmanager
    def all_or_nothing(self, stitch_ids: Collection[int]) -> Iterator[None]:
        """Where what is done within raises, these stitches hold what they held before it, and nothing else."""
        held = [booked for number in stitch_ids for booked in self._all_held(number)]
        yielding = {number: list(self._yielding[number]) for number in stitch_ids if number in self._yielding}
        try:
            yield
        except BaseException:
            for number in stitch_ids:
                self.free(number)
            for booked in held:
                self.resources.restore(booked)
            self._yielding.update(yielding)
            raise

    def _all_held(self, stitch_id: int) -> list[Reservation[LinkKey]]:
        owners = (stitch_id, _leaving(stitch_id), *self._yielding.get(stitch_id, ()))
        return [booked for owner in owners if (booked := self.resources.reservation(owner)) is not None]

    def book(self, stitch: Stitch, path: Placement, replaces: Iterable[Stitch] = ()) -> None:
        """Promise a stitch its bandwidth on a path. Raises Oversubscribed where a link has too little left.

        What the stitches it replaces hold counts as free: where paths meet it is handed over, the rest is leaving.
        """
        self._hand_over(stitch, path, [owner for old in replaces for owner in (old.id, _leaving(old.id))])

    def displace(self, stitch: Stitch, path: Placement, down: Iterable[Stitch], leaving: Iterable[Stitch]) -> None:
        """The same for one that waits until others have gone: some altogether, some to another path.

        What these hold beyond that on links of the path is nobody's until they have.
        """
        owners: list[Hashable] = [owner for old in down for owner in (old.id, _leaving(old.id))]
        owners += [_leaving(old.id) for old in leaving]
        keys = links_to_reserve(stitch.request, path)
        for booked in self._hand_over(stitch, path, owners):
            self._keep_yielding(booked, keys)

    def _hand_over(
        self, stitch: Stitch, path: Placement, owners: Iterable[Hashable]
    ) -> list[Reservation[LinkKey]]:
        keys = links_to_reserve(stitch.request, path)
        held = [booked for owner in owners if (booked := self.resources.release(owner)) is not None]
        self._reserve(stitch, keys, held)
        for booked in held:
            if rest := tuple(key for key in booked.keys if key not in keys):
                self.resources.restore(replace(booked, keys=rest))
        return held

    def _keep_yielding(self, booked: Reservation[LinkKey], handed: Collection[LinkKey]) -> None:
        """What it still carries beyond what was handed over is nobody else's until it has gone."""
        number = booked.owner[1] if isinstance(booked.owner, tuple) else booked.owner
        for key, times in Counter(key for key in booked.keys if key in handed).items():
            mbps = min(times * booked.mbps, self.left(key))
            owner = ("yielding", number, key)
            if mbps >= ONE_BIT_MBPS and self.resources.reservation(owner) is None:
                self.resources.restore(Reservation(owner, (key,), mbps))
                self._yielding[int(str(number))].append(owner)

    def _yielded(self, stitch_id: int) -> None:
        for owner in self._yielding.pop(stitch_id, ()):
            self.resources.release(owner)

    def _reserve(self, stitch: Stitch, keys: Sequence[LinkKey], held: Iterable[Reservation[LinkKey]]) -> None:
        """Promise what held was given up for. Raises Oversubscribed, and those hold again what they held."""
        try:
            if keys:
                self.resources.reserve(stitch.id, keys, stitch.request.bandwidth_mbps)
        except Oversubscribed:
            for booked in held:
                self.resources.restore(booked)
            raise

    def book_again(self, stitch: Stitch, path: Placement) -> None:
        """Promise what a stitch was promised before a restart, also on links that were not found again yet."""
        for key, times in Counter(links_to_reserve(stitch.request, path)).items():
            if key not in self._links:
                # The link will say what it carries when it is found.
                self.resources.set_capacity(key, self._promised(key) + times * stitch.request.bandwidth_mbps)
        self.book(stitch, path)

    def move(self, before: Stitch, after: Stitch) -> None:
        """Book the new path of a stitch and keep the old one until `settle`: both may carry for a while.

        Raises Oversubscribed, and all is as it was, where the new path has too little left.
        """
        old, new = _links(before), _links(after)
        held = self.resources.release(before.id)
        self._reserve(after, new, [held] if held is not None else [])
        if left := tuple(key for key in old if key not in new):
            self.resources.restore(Reservation(_leaving(before.id), left, before.request.bandwidth_mbps))

    def move_back(self, before: Stitch) -> None:
        """The change came to nothing: the stitch holds its old path and no other.

        Raises Oversubscribed where others have taken what it gave back on links that both paths cross: then it
        holds nothing.
        """
        still = self.resources.release(_leaving(before.id))
        self.resources.release(before.id)
        self._yielded(before.id)
        old = _links(before)
        left = still.keys if still is not None else ()
        shared = tuple((Counter(old) - Counter(left)).elements())
        for key in shared:
            if self.resources.free(key) < before.request.bandwidth_mbps:
                raise Oversubscribed(key, before.request.bandwidth_mbps, self.resources.free(key))
        if old:
            self.resources.restore(Reservation(before.id, old, before.request.bandwidth_mbps))

    def settle(self, stitch_id: int) -> None:
        """The new path carries: what was held on the old one is free."""
        self.resources.release(_leaving(stitch_id))
        self._yielded(stitch_id)

    def resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the same path. Raises Oversubscribed."""
        if _links(stitch):
            self.resources.resize(stitch.id, bandwidth_mbps)

    def free(self, stitch_id: int) -> None:
        """Take back all that a stitch holds."""
        self.resources.release(stitch_id)
        self.resources.release(_leaving(stitch_id))
        self._yielded(stitch_id)

    def without(self, stitches: Iterable[Stitch]) -> Without:
        """What could be promised if these were gone."""
        owners = (
            owner
            for stitch in stitches
            for owner in (stitch.id, _leaving(stitch.id), *self._yielding.get(stitch.id, ()))
        )
        return Without(self.resources, tuple(owners))

    def left(self, key: LinkKey) -> float:
        """What a link has left, below 0 where more is promised than it carries now; 0 where that is not known."""
        return self.resources.capacity(key) - self.resources.reserved(key) if key in self.resources else 0.0

    def holds(self, stitch_id: int, key: LinkKey) -> float:
        """What a stitch holds on a link, what it is leaving there included."""
        return self._held(stitch_id, key) + self._held(_leaving(stitch_id), key)

    def too_much(self, staying: Iterable[Stitch], *, first: str) -> list[Stitch]:
        """Which of those that stay must go for every link to carry what it promises, after a capacity shrank.

        What anybody else holds is on its way out. Those of the origin `first` go first, then those of the
        least priority, of these the youngest.
        """
        stitches = sorted(
            staying, key=lambda stitch: (stitch.request.origin != first, stitch.request.priority, -stitch.id)
        )
        ids = {stitch.id for stitch in stitches}
        excess = self.resources.overcommitted()
        for key in excess:
            excess[key] -= sum(self._held(owner, key) for owner in self.resources.owners(key) if owner not in ids)
        going = []
        for stitch in stitches:
            if any(self._held(stitch.id, key) and excess[key] >= ONE_BIT_MBPS for key in excess):
                going.append(stitch)
                for key in excess:
                    excess[key] -= self._held(stitch.id, key)
        return going

    def _held(self, owner: object, key: LinkKey) -> float:
        booked = self.resources.reservation(owner)
        return booked.mbps * booked.keys.count(key) if booked is not None else 0.0

    def _promised(self, key: LinkKey) -> float:
        return self.resources.reserved(key) if key in self.resources else 0.0


def _links(stitch: Stitch) -> tuple[LinkKey, ...]:
    return links_to_reserve(stitch.request, stitch.path)


def _leaving(stitch_id: int) -> tuple[str, int]:
    """The owner of what a stitch still holds on a path it leaves."""
    return "leaving", stitch_id
