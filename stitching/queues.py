"""HTB queues of a port as values: what is wanted of one, and what to change to get there.

Queue 0 is best effort and always there: without a class for it HTB lets what belongs to no queue pass it by. So is
one for the packets that keep links alive (BFD, probes): on a full port they would be lost like any other, and
three lost packets of BFD are a dead link.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MARK = "lockstitch"
"""The key in external_ids of every row of ours."""

QOS_TYPE = "linux-htb"
BEST_EFFORT = 0
CONTROL = 61_439
"""HTB's class 1:f000 is the last one below those Open vSwitch keeps for itself."""

LAST_QUEUE = CONTROL - 1
CONTROL_MBPS, MOST_CONTROL_MBPS = 0.2, 1.0
"""What keeps a link alive: BFD of 20 ms is 0.03 Mbit/s. The most is there so that nobody can hide in it."""

LEAST_MBPS = 0.1
"""What best effort is left with where guarantees take all of a port."""

MOST_MBPS = 34_000.0
"""Open vSwitch before 3.3 keeps rates in 32 bits of bytes a second: 40 Gbit/s would become 5.6."""

OPEN_MBPS = 10_000.0

BURST_MS, LEAST_BURST_BITS = 10, 120_000
"""How much a class may catch up with after a late timer; Open vSwitch would choose one packet by itself."""

_DSCPS = 64


@dataclass(frozen=True, slots=True)
class Labelled:
    """Packets by the label (VLAN tag) they carry in the fabric: its id and, where given, priority and ends."""

    vlan_id: int
    pcp: int | None = None
    source_mac: str | None = None
    target_mac: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of a port: it gets min_mbps whatever the others do, and never more than max_mbps (None: the port).

    Where the datapath ignores set_queue, packets with `dscp` and those of `flows` go to it; without them, only
    set_queue leads there. While the traffic of stitch_ids flows, its counters have to grow.
    """

    number: int
    min_mbps: float = 0.0
    max_mbps: float | None = None
    dscp: int | None = None
    stitch_ids: tuple[int, ...] = ()
    flows: tuple[Labelled, ...] = ()

    @property
    def is_sorted(self) -> bool:
        """Whether filters can lead packets to it."""
        return self.dscp is not None or bool(self.flows)

    def __post_init__(self) -> None:
        """Raise ValueError for figures that are no queue."""
        if not BEST_EFFORT < self.number <= LAST_QUEUE:
            raise ValueError(f"queue {self.number} is not within 1 to {LAST_QUEUE}; the others are ours")
        if not (math.isfinite(self.min_mbps) and self.min_mbps >= 0):
            raise ValueError(f"min_mbps={self.min_mbps} of queue {self.number} must be 0 or more")
        if self.max_mbps is not None and not (math.isfinite(self.max_mbps) and self.max_mbps > 0):
            raise ValueError(f"max_mbps={self.max_mbps} of queue {self.number} must be above 0, or None")
        if self.max_mbps is not None and self.max_mbps < self.min_mbps:
            raise ValueError(
                f"queue {self.number} is guaranteed {self.min_mbps} of at most {self.max_mbps} Mbit/s"
            )
        if self.dscp is not None and not 0 < self.dscp < _DSCPS:
            raise ValueError(f"dscp={self.dscp} of queue {self.number} is not within 1 to {_DSCPS - 1}")


@dataclass(frozen=True, slots=True)
class PortQueues:
    """All queues of a port that sends rate_mbps; with none of them it is only kept alive when it is full.

    Raises ValueError where they promise more than that, or clash.
    """

    rate_mbps: float
    queues: tuple[Queue, ...]

    def __post_init__(self) -> None:
        if not 0 < self.rate_mbps <= MOST_MBPS:
            raise ValueError(f"rate_mbps={self.rate_mbps} is not above 0 and at most {MOST_MBPS:g}")
        numbers = [queue.number for queue in self.queues]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two queues of a port have the same number")
        dscps = [queue.dscp for queue in self.queues if queue.dscp is not None]
        if len(set(dscps)) != len(dscps):
            raise ValueError("two queues of a port have the same dscp")
        flows = [flow for queue in self.queues for flow in queue.flows]
        if len(set(flows)) != len(flows):
            raise ValueError("the same packets belong to two queues of a port")
        promised = sum(queue.min_mbps for queue in self.queues)
        # A kilobit of rounding is nobody's promise.
        if promised > self.rate_mbps + 1e-3:
            raise ValueError(f"the queues are guaranteed {promised:g} Mbit/s of a port of {self.rate_mbps:g}")


Settings = Mapping[str, str]


@dataclass(frozen=True)
class QosRows:
    """What the database has, or shall have, for a port: other_config of the QoS and of each queue by number."""

    other_config: Settings
    queues: Mapping[int, Settings]
    kind: str = QOS_TYPE


def rows(wanted: PortQueues) -> QosRows:
    """The rows that make these queues, in bit/s as Open vSwitch wants them.

    Best effort is guaranteed what the others leave over, so that it lives beside queues that may borrow.
    """
    left_mbps = wanted.rate_mbps - CONTROL_MBPS - sum(queue.min_mbps for queue in wanted.queues)
    queues = {
        BEST_EFFORT: _settings(max(left_mbps, LEAST_MBPS), wanted.rate_mbps),
        CONTROL: _settings(CONTROL_MBPS, min(MOST_CONTROL_MBPS, wanted.rate_mbps)),
    }
    for queue in wanted.queues:
        most_mbps = wanted.rate_mbps if queue.max_mbps is None else min(queue.max_mbps, wanted.rate_mbps)
        queues[queue.number] = _settings(max(queue.min_mbps, LEAST_MBPS), most_mbps)
    return QosRows({"max-rate": _bits(wanted.rate_mbps)}, queues)


def open_rows(wanted: PortQueues) -> QosRows:
    """The same queues with nothing to wait for in any: until their filters are set all packets are best effort."""
    final = rows(wanted)
    opened = {"max-rate": _bits(max(OPEN_MBPS, wanted.rate_mbps))}
    return QosRows(opened, {number: {**settings, **opened} for number, settings in final.queues.items()})


def _settings(min_mbps: float, max_mbps: float) -> Settings:
    burst = max(LEAST_BURST_BITS, round(max_mbps * 1e3 * BURST_MS))
    return {"min-rate": _bits(min(min_mbps, max_mbps)), "max-rate": _bits(max_mbps), "burst": str(burst)}


def _bits(mbps: float) -> str:
    return str(max(1, round(mbps * 1e6)))


@dataclass(frozen=True)
class DscpClass:
    """Packets with this DSCP belong in the HTB class 1:minor."""

    dscp: int
    minor: int


@dataclass(frozen=True)
class LabelClass:
    """Packets with this label belong in the HTB class 1:minor."""

    flow: Labelled
    minor: int


def queue_classes(queues: Iterable[Queue]) -> tuple[DscpClass | LabelClass, ...]:
    """Which packets go to which class that Open vSwitch made: queue n is the class 1:(n+1)."""
    classes: list[DscpClass | LabelClass] = []
    for queue in queues:
        minor = class_minor(queue.number)
        if queue.dscp is not None:
            classes.append(DscpClass(queue.dscp, minor))
        classes += [LabelClass(flow, minor) for flow in queue.flows]
    return tuple(classes)


def class_minor(number: int) -> int:
    """The minor number of a queue's HTB class."""
    return number + 1
