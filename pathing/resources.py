"""Who was promised how much of which link and which node: bookings that can never exceed a capacity."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Generic, cast

from pathing.checks import whole_number
from pathing.errors import ResourceError
from pathing.promises import (
    BANDWIDTH,
    COMPUTE,
    UNITS,
    Compute,
    Item,
    LinkKey,
    Reservation,
    from_units,
    hashable,
    is_compute,
    to_units,
    too_much,
    whole_units,
)


class Resources(Generic[LinkKey]):
    """Bandwidth of links and compute of nodes, promised to owners; one reservation an owner.

    Capacities and requests are rounded to the nearest whole unit: bit/s, thousandth of a core, byte.
    """

    def __init__(self, capacity_mbps: Mapping[LinkKey, float] | None = None) -> None:
        self._capacity: dict[Item, int] = {}
        self._promised: dict[Item, int] = {}
        self._owners: dict[Item, dict[Hashable, None]] = {}
        # Both oldest first.
        self._reservations: dict[Hashable, Reservation[LinkKey]] = {}
        self._amounts: dict[Hashable, Mapping[Item, int]] = {}
        for key, mbps in (capacity_mbps or {}).items():
            self.set_capacity(key, mbps)

    # -- links

    def set_capacity(self, key: LinkKey, mbps: float) -> None:
        """Add a link or change its capacity; promises above it stay, and show in `overcommitted`."""
        hashable("link", key)
        self._set((BANDWIDTH, key), whole_units(f"capacity of link {key!r}", BANDWIDTH, mbps, least=0))

    def __contains__(self, key: LinkKey) -> bool:
        """Whether the link was ever given a capacity."""
        return (BANDWIDTH, key) in self._capacity

    def capacity(self, key: LinkKey) -> float:
        """Mbit/s the link has; raises `ResourceError` for an unknown link, as all that take a key do."""
        return from_units(self._capacity, self._link(key))

    def reserved(self, key: LinkKey) -> float:
        """Mbit/s promised on the link."""
        return from_units(self._promised, self._link(key))

    def free(self, key: LinkKey, *, without: Iterable[Hashable] = ()) -> float:
        """Mbit/s left to promise, never negative: as things are, or if some owners held nothing."""
        item = self._link(key)
        left = self._capacity[item] - self._promised[item]
        if without:
            left += sum(self._amounts[owner].get(item, 0) for owner in {*without} & self._amounts.keys())
        return max(0, left) / UNITS[BANDWIDTH]

    def promised_links(self) -> tuple[LinkKey, ...]:
        """Every link on which anybody has a reservation."""
        links = (item[1] for item, owners in self._owners.items() if item[0] == BANDWIDTH and owners)
        return tuple(cast("LinkKey", key) for key in links)

    def owners(self, key: LinkKey) -> tuple[Hashable, ...]:
        """Who has a reservation on the link, oldest first."""
        return tuple(self._owners[self._link(key)])

    def overcommitted(self) -> dict[LinkKey, float]:
        """Mbit/s promised beyond the capacity, for each link whose capacity shrank below its promises."""
        links = (item for item in self._capacity if item[0] == BANDWIDTH)
        return {cast("LinkKey", item[1]): excess for item in links if (excess := self._excess(item)) > 0}

    # -- nodes

    def set_compute(self, node: Hashable, compute: Compute) -> None:
        """Add a compute node or change what it has; promises above it stay, as they do on links."""
        hashable("compute node", node)
        for kind in COMPUTE:
            self._set((kind, node), to_units(kind, getattr(is_compute(node, compute), kind)))

    def compute(self, node: Hashable) -> Compute:
        """What the node has; raises `ResourceError` for an unknown node, as all that take a node do."""
        return Compute(*(from_units(self._capacity, item) for item in self._node(node)))

    def compute_reserved(self, node: Hashable) -> Compute:
        """What is promised on the node."""
        return Compute(*(from_units(self._promised, item) for item in self._node(node)))

    def compute_free(self, node: Hashable) -> Compute:
        """What is left to promise on the node, never negative."""
        return Compute(*(self._free(item) for item in self._node(node)))

    def compute_owners(self, node: Hashable) -> tuple[Hashable, ...]:
        """Who has a reservation on the node, oldest first."""
        self._node(node)
        return tuple(owner for owner, held in self._reservations.items() if node in held.compute)

    def compute_overcommitted(self) -> dict[Hashable, Compute]:
        """What is promised beyond what the node has, for each node that shrank below its promises."""
        nodes = (node for kind, node in self._capacity if kind == COMPUTE[0])
        excess = {node: Compute(*(self._excess(item) for item in self._node(node))) for node in nodes}
        return {node: compute for node, compute in excess.items() if compute != Compute()}

    # -- reservations

    def reservation(self, owner: Hashable) -> Reservation[LinkKey] | None:
        """Give what the owner was promised, None when nothing."""
        hashable("owner", owner)
        return self._reservations.get(owner)

    def reserve(
        self,
        owner: Hashable,
        keys: Sequence[LinkKey],
        mbps: float,
        *,
        compute: Mapping[Any, Compute] | None = None,
        priority: int = 0,
        preempt: bool = False,
    ) -> Reservation[LinkKey]:
        """Promise `mbps` on every link of `keys` and `compute` on its nodes, or nothing at all.

        A key that is there twice is charged twice. With `preempt`, reservations of a lower `priority` give way
        where something is short: the lowest first, among equals the youngest, until nothing is; then those that
        turn out not to be needed are kept after all, so that no part of the set would do. Those that gave way
        are released and returned as `preempted`.

        Raises `Oversubscribed` or `ComputeOversubscribed` naming the first link or node with too little left,
        and `ResourceError` for an owner that has a reservation, an unknown link or node, neither of them,
        less than 1 bit/s, or an argument of another kind.
        """
        whole = whole_number(priority)
        if whole is None:
            raise ResourceError(f"reservation of {owner!r}: priority is {priority!r}; it must be a whole number")
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise ResourceError(f"reservation of {owner!r}: keys is {keys!r}; it must be a list of links' keys")
        if not isinstance(compute, Mapping | None):
            raise ResourceError(f"reservation of {owner!r}: compute is {compute!r}; it must be a Compute by node")
        asked = MappingProxyType({node: is_compute(node, wanted) for node, wanted in (compute or {}).items()})
        wanted = Reservation(owner, tuple(keys), mbps, asked, whole)
        self._check_new(wanted)
        return self._book(wanted, preempt)

    def resize(self, owner: Hashable, mbps: float, *, preempt: bool = False) -> Reservation[LinkKey]:
        """Change the bandwidth on all links of a reservation or none; less always works. Raises as `reserve` does.

        Its compute, its priority and its age stay.
        """
        old = self.reservation(owner)
        if old is None:
            raise ResourceError(f"{owner!r} has no reservation to resize; reserve first")
        return self._book(replace(old, mbps=mbps), preempt)

    def release(self, owner: Hashable) -> Reservation[LinkKey] | None:
        """Take back what the owner was promised and return it; None, and no error, when there was nothing."""
        old = self.reservation(owner)
        if old is None:
            return None
        del self._reservations[owner]
        for item, amount in self._amounts.pop(owner).items():
            self._promised[item] -= amount
            del self._owners[item][owner]
        return old

    def restore(self, reservation: Reservation[LinkKey]) -> Reservation[LinkKey]:
        """Promise again what was promised before and just released, or part of it, without asking for room.

        No new promise is made by it, so it cannot fail where a capacity has shrunk meanwhile. Its compute and its
        priority come back with it, its age is that of a new one. Raises `ResourceError` as `reserve` does.
        """
        self._check_new(reservation)
        again = replace(reservation, preempted=()) if reservation.preempted else reservation
        return self._book(again, preempt=False, ask=False)

    # -- inside

    def _check_new(self, wanted: Reservation[LinkKey]) -> None:
        owner = wanted.owner
        if self.reservation(owner) is not None:
            raise ResourceError(f"{owner!r} already has a reservation; resize or release it, or use another owner")
        if not wanted.keys and not wanted.compute:
            raise ResourceError(f"reservation of {owner!r} names no link; give the keys of the path's links")

    def _set(self, item: Item, units: int) -> None:
        self._capacity[item] = units
        self._promised.setdefault(item, 0)
        self._owners.setdefault(item, {})

    def _book(self, wanted: Reservation[LinkKey], preempt: bool, *, ask: bool = True) -> Reservation[LinkKey]:
        """Make the books say `wanted` where they say less or nothing of its owner; or raise and change nothing.

        Not to `ask` is to book above what there is, too.
        """
        new, old = self._needs(wanted), self._amounts.get(wanted.owner)
        more = {item: amount - old.get(item, 0) for item, amount in new.items()} if old else new
        short = {
            item: over
            for item, amount in more.items()
            if ask and amount > 0 and (over := self._promised[item] + amount - self._capacity[item]) > 0
        }
        gone = self._give_way(short, more, wanted.priority if preempt else None) if short else ()
        for item, amount in more.items():
            self._promised[item] += amount
            self._owners[item][wanted.owner] = None
        mbps = to_units(BANDWIDTH, wanted.mbps) / UNITS[BANDWIDTH]
        granted = wanted if mbps == wanted.mbps else replace(wanted, mbps=mbps)
        self._reservations[wanted.owner], self._amounts[wanted.owner] = granted, new
        return replace(granted, preempted=gone) if gone else granted

    def _needs(self, wanted: Reservation[LinkKey]) -> Mapping[Item, int]:
        """What a reservation takes of everything it names, in whole units."""
        what = f"reservation of {wanted.owner!r}"
        bits = whole_units(what, BANDWIDTH, wanted.mbps, least=1 if wanted.keys else 0)
        needs: dict[Item, int] = {}
        for key in wanted.keys:
            item = self._link(key)
            needs[item] = needs.get(item, 0) + bits
        for node, compute in wanted.compute.items():
            units = {item: to_units(item[0], getattr(compute, item[0])) for item in self._node(node)}
            if not any(units.values()):
                raise ResourceError(f"{what} asks for nothing of node {node!r}; leave the node out")
            needs |= units
        return needs

    def _give_way(
        self, short: Mapping[Item, int], more: Mapping[Item, int], below: int | None
    ) -> tuple[Reservation[LinkKey], ...]:
        """Release what must go for nothing to be short, of priorities `below` that (None: nothing); or raise."""
        going: list[Hashable] = []
        left = dict(short)
        for owner in self._lower(short, below):
            held = self._amounts[owner]
            if any(left[item] > 0 and item in held for item in left):
                going.append(owner)
                left = {item: amount - held.get(item, 0) for item, amount in left.items()}
        for item, amount in left.items():
            if amount > 0:
                raise too_much(item, more[item], max(0, more[item] - amount))
        # One taken early may be needless beside those taken later, for other items.
        for owner in reversed(going.copy()):
            without = {item: amount + self._amounts[owner].get(item, 0) for item, amount in left.items()}
            if all(amount <= 0 for amount in without.values()):
                left = without
                going.remove(owner)
        gone = tuple(self._reservations[owner] for owner in going)
        for owner in going:
            self.release(owner)
        return gone

    def _lower(self, short: Mapping[Item, int], below: int | None) -> list[Hashable]:
        """Who holds any of what is short at a lower priority: lowest first, then youngest first."""
        if below is None:
            return []
        held = {owner: self._reservations[owner].priority for item in short for owner in self._owners[item]}
        youngest_first = (owner for owner in reversed(self._reservations) if held.get(owner, below) < below)
        return sorted(youngest_first, key=held.__getitem__)

    def _free(self, item: Item) -> float:
        return max(0, self._capacity[item] - self._promised[item]) / UNITS[item[0]]

    def _excess(self, item: Item) -> float:
        return max(0, self._promised[item] - self._capacity[item]) / UNITS[item[0]]

    def _link(self, key: LinkKey) -> Item:
        item = BANDWIDTH, key
        try:
            known = item in self._capacity
        except TypeError:
            hashable("link", key)
            raise
        if not known:
            raise ResourceError(f"unknown link {key!r}; give its capacity with set_capacity first")
        return item

    def _node(self, node: Hashable) -> tuple[Item, ...]:
        hashable("compute node", node)
        items = tuple((kind, node) for kind in COMPUTE)
        if items[0] not in self._capacity:
            raise ResourceError(f"unknown compute node {node!r}; say what it has with set_compute first")
        return items
