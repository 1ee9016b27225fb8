"""The stitch that guarantees or caps what one virtual network sends to another: what is asked, what it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from stitching.network import LinkKey
from stitching.terms import Terms


@dataclass(frozen=True, slots=True)
class BandwidthRequest(Terms):
    """What the hosts of one virtual network may send to those of another, or to each other.

    bandwidth_mbps is what is promised now: guarantee_mbps or, where it follows the forecast, more as far as
    cap_mbps.
    """

    KIND: ClassVar = "bandwidth"

    source_vnet: str
    target_vnet: str
    guarantee_mbps: float | None = None
    cap_mbps: float | None = None
    follow_forecast: bool = False
    bandwidth_mbps: float = 0.0

    @property
    def vnets(self) -> tuple[str, str]:
        """From which network to which."""
        return self.source_vnet, self.target_vnet


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a cap that one switch lets its hosts send."""

    dpid: int
    mbps: float


@dataclass(frozen=True, slots=True)
class Place:
    """A host and its switch."""

    mac: str
    dpid: int


@dataclass(frozen=True, slots=True)
class BandwidthShares:
    """The directed links on which a guarantee is kept, the hosts, and the shares of a cap.

    meter is the number of its meter at each of these switches. Where there is no cap there are no shares. mark is
    the priority (PCP) that its packets carry where they have no path of their own, told from others on its links.
    """

    KIND: ClassVar = "shares"

    links: tuple[LinkKey, ...]
    senders: tuple[Place, ...]
    receivers: tuple[Place, ...]
    shares: tuple[Share, ...] = ()
    meter: int = 0
    mark: int = 0
    latency_ms: None = None
    label: int = 0

    @property
    def all_links(self) -> tuple[LinkKey, ...]:
        """The links that packets may be on: it puts none anywhere, so nobody has to wait for them."""
        return ()

    @property
    def dpids(self) -> frozenset[int]:
        """The switches it needs."""
        marking = (sender.dpid for sender in self.senders if self.mark)
        return frozenset(share.dpid for share in self.shares).union(marking)

    def pairs(self) -> Iterator[tuple[Place, Place]]:
        """Every sender with every receiver."""
        return ((one, other) for one in self.senders for other in self.receivers if one.mac != other.mac)
