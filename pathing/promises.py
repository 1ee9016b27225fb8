"""What can be promised, bandwidth of links and compute of nodes, and promises as values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pathing.checks import number
from pathing.errors import Oversubscribed, ResourceError

# What names a link across rebuilds of the topology: ((dpid, port_no), (dpid, port_no)), not a link id.
LinkKey = TypeVar("LinkKey", bound=Hashable)

# One thing that can be promised: "mbps" and a link's key, or a field of Compute and a node.
Item = tuple[str, Hashable]
BANDWIDTH = "mbps"
COMPUTE = ("cpu_cores", "memory_mb", "storage_gb")
# Whole units inside, so that a million bookings and releases leave nothing behind: bit/s, millicores, bytes.
UNITS = {BANDWIDTH: 1_000_000, "cpu_cores": 1_000, "memory_mb": 1_000_000, "storage_gb": 1_000_000_000}
_MOST = 1e12


@dataclass(frozen=True, slots=True)
class Compute:
    """What a compute node has, or what is asked of it; a MB is 10^6 bytes, a GB 10^9.

    Raises `ResourceError` for a value that is no number from 0 to 1e12, or less than one whole unit
    (0.001 cores, 1 byte).
    """

    cpu_cores: float = 0.0
    memory_mb: float = 0.0
    storage_gb: float = 0.0

    def __post_init__(self) -> None:
        for kind in COMPUTE:
            value = getattr(self, kind)
            whole_units("compute", kind, value, least=0 if value == 0 else 1)


@dataclass(frozen=True, slots=True)
class Reservation(Generic[LinkKey]):
    """What `owner` was promised: `mbps` on each of `keys`, as often as the key is in it, and `compute` by node.

    `preempted` are those that gave way, as they were; only what `reserve` and `resize` return has any.
    """

    owner: Hashable
    keys: tuple[LinkKey, ...]
    mbps: float
    compute: Mapping[Hashable, Compute] = field(default_factory=dict, hash=False)
    priority: int = 0
    preempted: tuple[Reservation[LinkKey], ...] = ()


class ComputeOversubscribed(ResourceError):
    """The node has `free` of `kind` (a field of `Compute`) left, less than `asked`; nothing was changed."""

    def __init__(self, node: Hashable, kind: str, asked: float, free: float) -> None:
        self.node, self.kind, self.asked, self.free = node, kind, asked, free
        super().__init__(
            f"node {node!r}: asked for {asked:g} {kind}, {free:g} free; ask for less or take another node"
        )


def too_much(item: Item, asked: int, free: int) -> ResourceError:
    """Give the error for an item of which more is asked than is free, in units."""
    kind, key = item
    unit = UNITS[kind]
    if kind == BANDWIDTH:
        return Oversubscribed(key, asked / unit, free / unit)
    return ComputeOversubscribed(key, kind, asked / unit, free / unit)


def from_units(book: Mapping[Item, int], item: Item) -> float:
    """What a book has for an item, as callers count it."""
    return book[item] / UNITS[item[0]]


def to_units(kind: str, value: float) -> int:
    """Round to whole units."""
    return round(value * UNITS[kind])


def whole_units(what: str, kind: str, value: object, least: int) -> int:
    """Give a value in units. Raises `ResourceError` for what is no number, too much, or less than `least`."""
    figure = number(value)
    if 0 <= figure <= _MOST and (units := to_units(kind, figure)) >= least:
        return units
    unit = "Mbit/s" if kind == BANDWIDTH else kind
    raise ResourceError(f"{what} is {value!r} {unit}; it must be from {least / UNITS[kind]:g} to {_MOST:g}")


def hashable(what: str, value: object) -> None:
    """Raise `ResourceError` for a value that no book can be kept by."""
    try:
        hash(value)
    except TypeError:
        raise ResourceError(f"{what} is {value!r}; it must be hashable, such as a text or a tuple") from None


def is_compute(node: object, compute: object) -> Compute:
    """Give the compute of a node back. Raises `ResourceError` for what is none."""
    if not isinstance(compute, Compute):
        raise ResourceError(f"compute of node {node!r} is {compute!r}; it must be a Compute")
    return compute
