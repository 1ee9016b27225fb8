"""Sets of ports as ranges: what is left of them, and the values and masks that match them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stitching.policy.document import PortRange

LAST_PORT = 0xFFFF


def merged(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """The same ports in as few ranges as there can be, in order."""
    done: list[PortRange] = []
    for first, last in sorted(ranges):
        if done and first <= done[-1][1] + 1:
            done[-1] = done[-1][0], max(done[-1][1], last)
        else:
            done.append((first, last))
    return tuple(done)


def without(ranges: Iterable[PortRange], taken: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """What is left of some ports without others."""
    left = merged(ranges)
    for first, last in taken:
        parts = (
            (a, b) for low, high in left for a, b in ((low, min(high, first - 1)), (max(low, last + 1), high))
        )
        left = tuple(part for part in parts if part[0] <= part[1])
    return left


def prefixes(ranges: Iterable[PortRange]) -> Iterator[tuple[int, int | None]]:
    """The fewest (value, mask) that match these ports and no others; mask None is all bits."""
    for first, last in merged(ranges):
        while first <= last:
            size = first & -first or LAST_PORT + 1
            while first + size - 1 > last:
                size >>= 1
            yield first, None if size == 1 else LAST_PORT & ~(size - 1)
            first += size


def holds(ranges: tuple[PortRange, ...], port: int | None) -> bool:
    """Whether a port is among these; no ranges are all ports, and a packet without ports has none of them."""
    return not ranges or (port is not None and any(first <= port <= last for first, last in ranges))


def in_words(ranges: tuple[PortRange, ...]) -> str:
    """Ports as people write them."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
