"""What the channel tells besides what switches say in OpenFlow."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Event


@dataclass
class ProbeArrived(Event):
    """A rule for probes of stitches sent a frame to the controller; received_s is of the monotonic clock."""

    dpid: int
    frame: bytes
    received_s: float
