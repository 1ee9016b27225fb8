"""Which queues the ports of the fabric need so that stitches get what they were promised, and whether they do.

Each stitch has a queue of its own on every link it was promised bandwidth on: what it sends above that borrows
what others leave, and takes nothing from another's promise. So nobody has to be policed at the entrance. A port
serves only so many queues well: above that, the least important share one, which is promised the sum.

What the trigger has moved has no queue: its promise books room on the way and follows the forecast from second to
second, and its packets go on as best effort, which is guaranteed all that is promised to nobody else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from stitching.bandwidth import BandwidthShares
from stitching.decisions import ORIGIN
from stitching.enforced import Verdict
from stitching.enforcement import Choice, Enforced
from stitching.guarantee_flows import flows
from stitching.kinds import links_to_reserve
from stitching.network import LinkKey, Network, PortId, node_name
from stitching.queues import LAST_QUEUE, MOST_MBPS, Labelled, PortQueues, Queue
from stitching.routes import CARRYING
from stitching.stitch import Stitch, StitchPath

OWN_QUEUES = 7
"""Stitches with a queue of their own at a port: with those for the others, control and best effort, ten in all.

The switch daemon sends by one socket with room for about 90 packets, and what waits in queues counts: with ten
queues of eight packets each a full one does not keep the others out.
"""

SHARED = LAST_QUEUE
"""The number of the queue that the others share."""

MOST_GUARDED_MBPS = 1_000.0
"""Up to this rate ports have queues even where nothing is promised: BFD and probes then survive a full link.

On faster ones one queueing discipline for all processors may cost more than that is worth.
"""

_BY_TRIGGER = "the trigger made it to relieve a link, and what it moves is best effort with room booked for it"

QueueId = tuple[PortId, int]


@dataclass(frozen=True)
class Plan:
    """The queues of each port; of each stitch, which are its own; and why it has none at some port."""

    ports: Mapping[PortId, PortQueues] = field(default_factory=lambda: MappingProxyType({}))
    queues: Mapping[int, tuple[QueueId, ...]] = field(default_factory=lambda: MappingProxyType({}))
    lacking: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Promise:
    """What one stitch was promised at a port, and which packets there are its own.

    flowing: whether these are what is measured as its load.
    """

    stitch: Stitch
    mbps: float
    flows: tuple[Labelled, ...]
    flowing: bool


def plan(stitches: Sequence[Stitch], network: Network) -> Plan:
    """What has to be at the ports of the fabric whose links' capacity is known."""
    promises: dict[PortId, list[_Promise]] = defaultdict(list)
    lacking = {stitch.id: _BY_TRIGGER for stitch in stitches if stitch.request.origin == ORIGIN}
    for stitch, key, promise in _promises(stitches):
        link = network.links.get(key)
        if isinstance(stitch.path, BandwidthShares) and not stitch.path.mark:
            lacking[stitch.id] = "on a link that it crosses, all marks are taken by other guarantees"
        elif link is None or link.capacity_mbps is None:
            lacking[stitch.id] = f"it is not known what port {node_name(key[0])}:{key[1]} carries"
        elif link.capacity_mbps > MOST_MBPS:
            where = f"port {node_name(key[0])}:{key[1]} of {link.capacity_mbps:g} Mbit/s"
            lacking[stitch.id] = f"{where} is faster than queues can be, which is {MOST_MBPS:g}"
        else:
            promises[key[:2]].append(promise)
    ports: dict[PortId, PortQueues] = {}
    queues: dict[int, list[QueueId]] = defaultdict(list)
    for link in network.links.values():
        rate_mbps, port_id = link.capacity_mbps, link.source
        if rate_mbps is None:
            continue
        if port_id in promises or rate_mbps <= MOST_GUARDED_MBPS:
            ports[port_id], numbers = _at_port(rate_mbps, promises.get(port_id, []))
            for stitch_id, number in numbers.items():
                queues[stitch_id].append((port_id, number))
    held = {stitch_id: tuple(sorted(numbered)) for stitch_id, numbered in queues.items()}
    return Plan(MappingProxyType(ports), MappingProxyType(held), MappingProxyType(lacking))


def is_promised(stitch: Stitch) -> bool:
    """Whether it lies somewhere and was promised bandwidth there."""
    return stitch.state in CARRYING and stitch.request.bandwidth_mbps > 0 and stitch.path is not None


def verdict(stitch: Stitch, planned: Plan, enforced: Mapping[QueueId, Choice]) -> Verdict:
    """By what a promise is kept, `queue` or `none`, and why that is said."""
    if not is_promised(stitch):
        return "none", "no bandwidth is promised to it now"
    if (why := planned.lacking.get(stitch.id)) is not None:
        return "none", f"the guarantee is kept by admission alone: {why}"
    held = planned.queues.get(stitch.id, ())
    if not held:
        return "none", "its packets cross no link between switches"
    seen = 0
    for port_id, number in held:
        choice = enforced.get((port_id, number), Choice(Enforced.NONE, "its queue is being set"))
        if choice.by is not Enforced.QUEUE:
            where = f"port {node_name(port_id[0])}:{port_id[1]}"
            return "none", f"the guarantee is kept by admission alone at {where}: {choice.reason}"
        seen += "grow" in choice.reason
    words = f"an HTB queue at each of {len(held)} ports on its way; counters have grown at {seen} of them so far"
    shared = sum(number == SHARED for _, number in held)
    return "queue", f"{words}; {shared} of them are shared with other stitches" if shared else words


def _is_guarded(stitch: Stitch) -> bool:
    return is_promised(stitch) and stitch.request.origin != ORIGIN


def _promises(stitches: Sequence[Stitch]) -> Iterator[tuple[Stitch, LinkKey, _Promise]]:
    unguarded = [s for s in stitches if s.state in CARRYING and not _is_guarded(s)]
    for stitch in filter(_is_guarded, stitches):
        onward = set(stitch.path.links) if isinstance(stitch.path, StitchPath) else set()
        for key, times in Counter(links_to_reserve(stitch.request, stitch.path)).items():
            promised_mbps = stitch.request.bandwidth_mbps * times
            yield stitch, key, _Promise(stitch, promised_mbps, flows(stitch, key, unguarded), key in onward)


def _at_port(rate_mbps: float, promises: Sequence[_Promise]) -> tuple[PortQueues, dict[int, int]]:
    """The queues of a port, and the number of each stitch's."""
    total = sum(promise.mbps for promise in promises)
    # While stitches move, or after a capacity shrank, more may be promised for a moment than there is.
    scale = min(1.0, rate_mbps / total) if total else 1.0
    numbers: dict[int, int] = {}
    sorted_out: set[Labelled] = set()
    together: dict[int, list[_Promise]] = defaultdict(list)
    for promise in sorted(promises, key=lambda one: (-one.stitch.request.priority, one.stitch.id)):
        # Made of its id alone, so that it stays whatever comes and goes beside it.
        number = 1 + (promise.stitch.id - 1) % (SHARED - 1)
        if len(together) - (SHARED in together) >= OWN_QUEUES or number in together:
            number = SHARED
        # Two may claim the same packets while one of them is still where its hosts were: the first has them.
        flows_left = tuple(flow for flow in promise.flows if flow not in sorted_out)
        sorted_out.update(flows_left)
        together[number].append(replace(promise, flows=flows_left))
        numbers[promise.stitch.id] = number
    return PortQueues(rate_mbps, tuple(_queue(n, together[n], scale) for n in sorted(together))), numbers


def _queue(number: int, promises: Sequence[_Promise], scale: float) -> Queue:
    return Queue(
        number,
        scale * sum(promise.mbps for promise in promises),
        stitch_ids=tuple(promise.stitch.id for promise in promises if promise.flowing),
        flows=tuple(flow for promise in promises for flow in promise.flows),
    )
