"""Application classes as people define them, and what they say of uplinks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stitching.overlay.scoring import AppClass
from stitching.overlay.site_plan import ClassMatch, PlannedClass
from stitching.overlay.sites import Site

MOST_CLASSES = 16
"""Each way between two sites is weighed for each class, in each round."""


class TooManyClasses(ValueError):
    """There are as many as there may be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DefinedClass:
    """Which packets are of a class, and what it wants. number: by which sites know it.

    Of several that match a packet the one of the lowest order has it, and of these the first by name.
    """

    name: str
    number: int
    order: int
    matches: tuple[ClassMatch, ...]
    wants: AppClass


@dataclass(frozen=True, slots=True)
class UplinkTerms:
    """What an uplink can carry, in Mbit/s each way, and costs a gigabyte. None: nobody has said."""

    site: str
    uplink: str
    capacity_mbps: float | None = None
    price: float | None = None


def planned(classes: Iterable[DefinedClass]) -> tuple[tuple[PlannedClass, AppClass], ...]:
    """Classes in the order in which they are asked whether a packet is theirs."""
    ordered = sorted(classes, key=lambda one: (one.order, one.name))
    return tuple((PlannedClass(one.name, one.number, one.matches), one.wants) for one in ordered)


def free_number(classes: Iterable[DefinedClass]) -> int:
    """A number for another class. Raises TooManyClasses."""
    taken = {one.number for one in classes}
    if len(taken) >= MOST_CLASSES:
        raise TooManyClasses(f"there are {MOST_CLASSES} classes already; delete one, or give one more matches")
    return next(number for number in range(1, MOST_CLASSES + 1) if number not in taken)


def on_terms(site: Site, terms: Iterable[UplinkTerms]) -> Site:
    """A site with what was said of its uplinks."""
    said = {one.uplink: one for one in terms if one.site == site.name}
    if not said:
        return site
    uplinks = tuple(
        replace(uplink, capacity_mbps=known.capacity_mbps, price=known.price or 0.0)
        if (known := said.get(uplink.name)) is not None
        else uplink
        for uplink in site.uplinks
    )
    return replace(site, uplinks=uplinks)
