"""Who was promised how much of which link: bookings that can never exceed a capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pathing.errors import Oversubscribed, ResourceError

# What names a link across rebuilds of the topology: ((dpid, port_no), (dpid, port_no)), not a link id.
LinkKey = TypeVar("LinkKey", bound=Hashable)

_BITS_PER_MBIT = 1_000_000
_MOST_MBPS = 1e12


@dataclass(frozen=True, slots=True)
class Reservation(Generic[LinkKey]):
    """What `owner` was promised: `mbps` on each of `keys`, as often as the key is in it."""

    owner: Hashable
    keys: tuple[LinkKey, ...]
    mbps: float


class Resources(Generic[LinkKey]):
    """Bandwidth of links, promised to owners; one reservation an owner.

    Whole bits a second inside, so that a million bookings and releases leave nothing behind. Capacities and
    requests are rounded to the nearest bit a second.
    """

    def __init__(self, capacity_mbps: Mapping[LinkKey, float] | None = None) -> None:
        self._capacity: dict[LinkKey, int] = {}
        self._promised: dict[LinkKey, int] = {}
        self._owners: dict[LinkKey, dict[Hashable, None]] = {}
        self._reservations: dict[Hashable, Reservation[LinkKey]] = {}
        self._bits: dict[Hashable, int] = {}
        for key, mbps in (capacity_mbps or {}).items():
            self.set_capacity(key, mbps)

    def set_capacity(self, key: LinkKey, mbps: float) -> None:
        """Add a link or change its capacity; promises above it stay, and show in `overcommitted`."""
        self._capacity[key] = _bits(f"capacity of link {key!r}", mbps, least=0)
        self._promised.setdefault(key, 0)
        self._owners.setdefault(key, {})

    def __contains__(self, key: LinkKey) -> bool:
        """Whether the link was ever given a capacity."""
        return key in self._capacity

    def capacity(self, key: LinkKey) -> float:
        """Mbit/s the link has; raises `ResourceError` for an unknown link, as all that take a key do."""
        return self._capacity[self._known(key)] / _BITS_PER_MBIT

    def reserved(self, key: LinkKey) -> float:
        """Mbit/s promised on the link."""
        return self._promised[self._known(key)] / _BITS_PER_MBIT

    def free(self, key: LinkKey) -> float:
        """Mbit/s left to promise, never negative."""
        return self._free(self._known(key)) / _BITS_PER_MBIT

    def owners(self, key: LinkKey) -> tuple[Hashable, ...]:
        """Who has a reservation on the link, oldest first."""
        return tuple(self._owners[self._known(key)])

    def reservation(self, owner: Hashable) -> Reservation[LinkKey] | None:
        """Give what the owner was promised, None when nothing."""
        return self._reservations.get(owner)

    def overcommitted(self) -> dict[LinkKey, float]:
        """Mbit/s promised beyond the capacity, for each link whose capacity shrank below its promises."""
        excess = {key: self._promised[key] - bits for key, bits in self._capacity.items()}
        return {key: bits / _BITS_PER_MBIT for key, bits in excess.items() if bits > 0}

    def reserve(self, owner: Hashable, keys: Sequence[LinkKey], mbps: float) -> Reservation[LinkKey]:
        """Promise `mbps` on every link of `keys` or on none; a key that is there twice is charged twice.

        Raises `Oversubscribed` naming the first link with too little left, and `ResourceError` for an owner
        that has a reservation, an unknown link, no link, or less than 1 bit/s.
        """
        return self._promise(owner, keys, mbps, ask=True)

    def _promise(
        self, owner: Hashable, keys: Sequence[LinkKey], mbps: float, *, ask: bool
    ) -> Reservation[LinkKey]:
        if owner in self._reservations:
            raise ResourceError(f"{owner!r} already has a reservation; resize or release it, or use another owner")
        if not keys:
            raise ResourceError(f"reservation of {owner!r} names no link; give the keys of the path's links")
        bits = _bits(f"reservation of {owner!r}", mbps, least=1)
        times = Counter(keys)
        for key in times:
            self._known(key)
        if ask:
            self._require_free(times, bits)
        for key, count in times.items():
            self._promised[key] += bits * count
            self._owners[key][owner] = None
        return self._remember(owner, tuple(keys), bits)

    def resize(self, owner: Hashable, mbps: float) -> Reservation[LinkKey]:
        """Change a reservation on all its links or none; less always works. Raises as `reserve` does."""
        old = self._reservations.get(owner)
        if old is None:
            raise ResourceError(f"{owner!r} has no reservation to resize; reserve first")
        bits = _bits(f"reservation of {owner!r}", mbps, least=1)
        more = bits - self._bits[owner]
        times = Counter(old.keys)
        if more > 0:
            self._require_free(times, more)
        for key, count in times.items():
            self._promised[key] += more * count
        return self._remember(owner, old.keys, bits)

    def release(self, owner: Hashable) -> Reservation[LinkKey] | None:
        """Take back what the owner was promised and return it; None, and no error, when there was nothing."""
        old = self._reservations.pop(owner, None)
        if old is None:
            return None
        bits = self._bits.pop(owner)
        for key, count in Counter(old.keys).items():
            self._promised[key] -= bits * count
            del self._owners[key][owner]
        return old

    def restore(self, owner: Hashable, keys: Sequence[LinkKey], mbps: float) -> Reservation[LinkKey]:
        """Promise again what was promised before and just released, without asking whether there is room.

        No new promise is made by it, so it cannot fail where a capacity has shrunk meanwhile. Raises
        `ResourceError` as `reserve` does.
        """
        return self._promise(owner, keys, mbps, ask=False)

    def without(self, owners: Iterable[Hashable]) -> Resources[LinkKey]:
        """A copy in which these owners hold nothing: what could be promised if they were to go."""
        copied: Resources[LinkKey] = Resources()
        copied._capacity = dict(self._capacity)
        copied._promised = dict(self._promised)
        copied._owners = {key: dict(held) for key, held in self._owners.items()}
        copied._reservations = dict(self._reservations)
        copied._bits = dict(self._bits)
        for owner in owners:
            copied.release(owner)
        return copied

    def _remember(self, owner: Hashable, keys: tuple[LinkKey, ...], bits: int) -> Reservation[LinkKey]:
        reservation = Reservation(owner, keys, bits / _BITS_PER_MBIT)
        self._reservations[owner] = reservation
        self._bits[owner] = bits
        return reservation

    def _require_free(self, times: Mapping[LinkKey, int], bits: int) -> None:
        for key, count in times.items():
            if bits * count > self._free(self._known(key)):
                raise Oversubscribed(key, bits * count / _BITS_PER_MBIT, self.free(key))

    def _free(self, key: LinkKey) -> int:
        return max(0, self._capacity[key] - self._promised[key])

    def _known(self, key: LinkKey) -> LinkKey:
        if key not in self._capacity:
            raise ResourceError(f"unknown link {key!r}; give its capacity with set_capacity first")
        return key


def _bits(what: str, mbps: float, least: int) -> int:
    # bool is an int, but a bandwidth of True is a mistake. NaN fails the comparison.
    if isinstance(mbps, bool) or not 0 <= mbps <= _MOST_MBPS or (bits := round(mbps * _BITS_PER_MBIT)) < least:
        least_mbps = least / _BITS_PER_MBIT
        raise ResourceError(f"{what} is {mbps!r} Mbit/s; it must be from {least_mbps:g} to {_MOST_MBPS:g}")
    return bits
