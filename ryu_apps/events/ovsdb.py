"""What comes from the databases of the switches, and goes there; where one is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ryu_apps.app import Event, Request
from stitching.enforced import Verdict
from stitching.enforcement import Choice, QueueFacts
from stitching.network import PortId
from stitching.queues import PortQueues


@dataclass
class LinkLiveness(Event):
    """BFD says that what is at the other end of this port is gone (alive False), or there again."""

    port: PortId
    alive: bool


@dataclass
class WantQueues(Event):
    """From now on `owner` wants these queues, per port; a port that is not named has none of that owner.

    A port is one owner's: where two name it, the first by name has it.
    """

    owner: str
    ports: Mapping[PortId, PortQueues]


@dataclass
class QueuesChanged(Event):
    """What enforces the queues of each wanted port is not what it was; by port and queue number."""

    enforced: Mapping[tuple[PortId, int], Choice]


@dataclass
class OvsdbChanged(Event):
    """Which OVSDB servers are given now, and the connected switches that those which answer know."""

    servers: frozenset[str]
    switches: frozenset[int]


@dataclass
class GuaranteesJudged(Event):
    """By what the promise of each stitch is enforced, and why that is said; all stitches that carry are in it."""

    verdicts: Mapping[int, Verdict]


@dataclass
class QueueFactsRequest(Request[QueueFacts]):
    """What is known of queues on this port? `stitching.enforcement.choose` says what follows from it."""

    port: PortId
    dscp: bool = True


@dataclass
class SetOvsdb(Request[int]):
    """Use these OVSDB servers, beside those of single switches; answers how many are new. Raises ValueError."""

    remotes: tuple[str, ...]


@dataclass
class SetSwitchOvsdb(Request[str | None]):
    """The OVSDB server of this switch is there (None: is not used any more); answers where it was.

    Kept over a restart. Raises ValueError for a bad address, StoreError where it cannot be kept.
    """

    dpid: int
    remote: str | None


@dataclass(frozen=True)
class OvsdbStatus:
    """How it goes. servers: whether each answers. up: BFD sessions by port; dead are those that failed.

    unprotected: fabric ports without BFD, and why. left_alone: ports with somebody else's QoS. switches: the
    server that answers for each connected one. named: those that were named for single switches.
    """

    servers: Mapping[str, bool]
    up: frozenset[PortId]
    dead: frozenset[PortId]
    unprotected: Mapping[PortId, str]
    left_alone: frozenset[PortId]
    enforced: Mapping[tuple[PortId, int], Choice]
    switches: Mapping[int, str]
    named: Mapping[int, str]
    errors: int
    last_error: str


@dataclass
class OvsdbStatusRequest(Request[OvsdbStatus]):
    """How goes it with the databases of the switches?"""
