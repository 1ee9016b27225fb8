"""What discovery tells: the fabric, its hosts and links, and who sends what is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ryu_apps.app import Event, Request
from ryu_apps.discovering.source_guard import Spoof
from stitching.network import Network, PortId


@dataclass
class NetworkChanged(Event):
    """The fabric is not what it was; `network` is what it is now."""

    network: Network


@dataclass
class NetworkRequest(Request[Network]):
    """What does the fabric look like, with the live delay estimates?"""


@dataclass
class SetCapacities(Request[int]):
    """The operator says what these links carry; answers how many links of the fabric it applied to.

    A port that has no link yet keeps its capacity for when it has one.
    """

    capacity_mbps: Mapping[PortId, float]


@dataclass
class SetEncrypted(Request[int]):
    """Which links are encrypted, by source port; answers how many links of the fabric are at the ports named.

    A port that has no link yet keeps its mark for when it has one; ports that are not named keep what they have.
    """

    encrypted: Mapping[PortId, bool]


@dataclass
class SpoofSeen(Event):
    """A packet was not believed, as its sender is not who it says; told once a minute for each forgery."""

    spoof: Spoof
