"""What is promised on each link, to which stitch, and what is left: what admission goes by, for people."""

from __future__ import annotations

from dataclasses import dataclass

from stitching.admission import Admission
from stitching.network import LinkKey, Network


@dataclass(frozen=True, slots=True)
class Held:
    """What a stitch holds on a link. leaving: it is on its way off the link and may still carry packets there."""

    stitch_id: int
    mbps: float
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class LinkPromises:
    """A directed link: what it carries (None: not known), what is left of that, and who holds the rest."""

    link: LinkKey
    capacity_mbps: float | None
    free_mbps: float
    held: tuple[Held, ...] = ()

    @property
    def promised_mbps(self) -> float:
        """All that is held."""
        return sum(one.mbps for one in self.held)


def promises(admission: Admission, network: Network) -> tuple[LinkPromises, ...]:
    """Every link there is, and those that are gone and still held, in order."""
    resources = admission.resources
    keys = {*network.links, *resources.promised_links()}
    return tuple(_promises(admission, network, key) for key in sorted(keys))


def _promises(admission: Admission, network: Network, key: LinkKey) -> LinkPromises:
    resources = admission.resources
    held = []
    for owner in resources.owners(key) if key in resources else ():
        booked = resources.reservation(owner)
        if booked is not None:
            number, leaving = (owner[1], True) if isinstance(owner, tuple) else (owner, False)
            held.append(Held(int(str(number)), booked.mbps * booked.keys.count(key), leaving))
    link = network.links.get(key)
    capacity = link.capacity_mbps if link is not None else None
    # Of a link of unknown capacity, and of one that is gone, nothing more is promised.
    free = resources.free(key) if capacity is not None else 0.0
    return LinkPromises(key, capacity, free, tuple(sorted(held, key=lambda one: (one.stitch_id, one.leaving))))
