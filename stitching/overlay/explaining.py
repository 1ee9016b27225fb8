"""Why a packet from one site to another arrives or does not: which rule decides, where, and by which tunnels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from stitching.overlay.segmenting import host_at
from stitching.overlay.site_plan import ClassMatch, PlannedClass
from stitching.overlay.sites import Address, Site
from stitching.policy.decision import Flow, Verdict
from stitching.policy.document import WITH_PORTS
from stitching.policy.explaining import by, in_words
from stitching.policy.ruling import Ruling

MOST_HOPS = 8
"""Ways have three tunnels at the most; while sites move packets elsewhere there may be more for a moment."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One tunnel of a way, by name, and the site that it leads to."""

    tunnel: str
    to: int


NextLeg = Callable[[int, Address, str | None], Leg | None]
"""Where a site sends packets of a class for an address now; None: nowhere."""


@dataclass(frozen=True, slots=True)
class SiteExplanation:
    """What becomes of a packet. allowed is what the policy says; arrives also asks for tunnels to go by.

    decided_at is the site that decides, the sender's; nodes are the sites that the packet comes by, tunnels what
    is between them: both are empty where it is denied. class_name is the class that it is of.
    """

    verdict: Verdict
    arrives: bool
    decided_at: str
    nodes: tuple[str, ...]
    tunnels: tuple[str, ...]
    class_name: str | None
    words: str


def at_two_sites(
    sources: Collection[Address], targets: Collection[Address], sites: Mapping[int, Site]
) -> tuple[tuple[Address, Site], tuple[Address, Site]] | None:
    """The first address of each that are behind two sites, and these; None: they are not."""
    for source in sources:
        for target in targets:
            one, other = site_of(source, sites), site_of(target, sites)
            if source.version == target.version and one and other and one.serial != other.serial:
                return (source, one), (target, other)
    return None


def site_of(address: Address, sites: Mapping[int, Site]) -> Site | None:
    """The site that an address is behind."""
    return next((site for site in sites.values() if any(address in prefix for prefix in site.prefixes)), None)


def explain_between(
    ruling: Ruling,
    ends: tuple[tuple[Address, Site], tuple[Address, Site]],
    flow: Flow,
    sites: Mapping[int, Site],
    classes: Sequence[PlannedClass],
    next_leg: NextLeg,
) -> SiteExplanation:
    """What becomes of a packet (without a DSCP) between addresses behind two sites."""
    (source, here), (target, there) = ends
    hosts = host_at(source, ruling.directory), host_at(target, ruling.directory)
    verdict = ruling.decide(*hosts, flow)
    names = [ruling.directory.name_of(host) for host in hosts]
    may = "allowed" if verdict.allowed else "denied"
    head = f"{in_words(flow)} from {names[0]} to {names[1]} is {may} {by(verdict)}"
    class_name = class_of(classes, source, target, flow)

    def ends_here(words: str) -> SiteExplanation:
        return SiteExplanation(verdict, False, here.name, (), (), class_name, f"{head}{words}")

    if not verdict.allowed:
        return ends_here(f"; site {here.name} drops it before its tunnels")
    if verdict.demands.zones is not None:
        zones = " or ".join(sorted(verdict.demands.zones))
        words = f", but only over switches of {zones or 'no zone'}: tunnels are in no zone"
        return ends_here(f"{words}, so site {here.name} drops it")
    way = way_of(here.serial, there.serial, target, class_name, next_leg)
    if way is None:
        return ends_here(f", but no tunnel leads from {here.name} to {there.name} now")
    nodes = (here.name, *(sites[leg.to].name if leg.to in sites else f"serial {leg.to}" for leg in way))
    tunnels = tuple(leg.tunnel for leg in way)
    of_class = f" as one of class {class_name}" if class_name is not None else ""
    words = f"{head}; it goes{of_class} from {' to '.join(nodes)} by {' and '.join(tunnels)}"
    return SiteExplanation(verdict, True, here.name, nodes, tunnels, class_name, words)


def class_of(classes: Sequence[PlannedClass], source: Address, target: Address, flow: Flow) -> str | None:
    """The class of a packet without a DSCP: of several the first that matches."""
    return next(
        (one.name for one in classes if any(_is_of(match, source, target, flow) for match in one.matches)), None
    )


def _is_of(match: ClassMatch, source: Address, target: Address, flow: Flow) -> bool:
    if any(prefix is not None and at not in prefix
           for prefix, at in ((match.source, source), (match.destination, target))):  # fmt: skip
        return False
    if match.protocol not in (None, flow.protocol) or match.dscp not in (None, 0):
        return False
    if match.ports is None:
        return True
    first, last = match.ports
    return flow.protocol in WITH_PORTS and flow.dst_port is not None and first <= flow.dst_port <= last


def way_of(
    source: int, target: int, address: Address, class_name: str | None, next_leg: NextLeg
) -> tuple[Leg, ...] | None:
    """The way that packets for an address behind a site take to it now; None where they do not get there."""
    legs: list[Leg] = []
    at = source
    while at != target:
        leg = next_leg(at, address, class_name)
        if leg is None or len(legs) == MOST_HOPS:
            return None
        legs.append(leg)
        at = leg.to
    return tuple(legs)
