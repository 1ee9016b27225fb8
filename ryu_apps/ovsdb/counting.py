"""Whether queues do what they are there for: their bytes have to grow while their traffic flows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stitching.network import PortId

FLOWING_MBPS = 0.05
"""A stitch that carries less says nothing about its queue."""

STILL_PERIODS = 3
"""Periods in a row with traffic and without a byte in the queue that decide."""

QueueId = tuple[PortId, int]


@dataclass(slots=True)
class _Count:
    bytes: int | None = None
    grew: bool = False
    still: int = 0
    verdict: bool | None = None


class QueueCounts:
    """What the counters of each queue have shown: True they grow, False they stand still, None nothing yet."""

    def __init__(self) -> None:
        self._counts: dict[QueueId, _Count] = {}

    def verdict(self, queue: QueueId) -> bool | None:
        """What is known of a queue."""
        count = self._counts.get(queue)
        return None if count is None else count.verdict

    def keep(self, queues: Collection[QueueId]) -> None:
        """Forget all other queues."""
        for queue in self._counts.keys() - set(queues):
            del self._counts[queue]

    def restart(self, port_id: PortId) -> None:
        """The queues of a port are new: what was counted before says nothing."""
        for queue in [queue for queue in self._counts if queue[0] == port_id]:
            del self._counts[queue]

    def read(self, queue: QueueId, sent_bytes: int) -> None:
        """The switch says that so many bytes have left through a queue."""
        count = self._counts.setdefault(queue, _Count())
        if count.bytes is not None and sent_bytes > count.bytes:
            count.grew, count.verdict = True, True
        count.bytes = sent_bytes

    def flowed(self, mbps: Mapping[QueueId, float]) -> None:
        """A period is over in which so much traffic of each queue was measured, at the stitches it belongs to."""
        for queue, rate_mbps in mbps.items():
            count = self._counts.get(queue)
            if count is None or count.bytes is None:
                continue
            if count.grew:
                count.still = 0
            elif rate_mbps > FLOWING_MBPS:
                count.still += 1
                if count.still >= STILL_PERIODS:
                    count.verdict = False
            count.grew = False
