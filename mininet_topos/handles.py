"""The parts of a running lab as its user holds them: hosts and links."""

from __future__ import annotations

from dataclasses import dataclass

from mininet_topos.emulator import Emulator, LinkStats
from mininet_topos.topology import LabLink


class LabError(RuntimeError):
    """The lab did not come up as wanted, or was asked for a part it does not have."""


@dataclass(frozen=True)
class HostHandle:
    """A running host: `pid` is a process in its namespace; it hangs on port `port_no` of bridge `dpid`."""

    name: str
    pid: int
    ip: str
    mac: str
    node: str
    dpid: int
    port_no: int
    device: str


@dataclass(frozen=True)
class LinkHandle:
    """A running link, seen from `link.a`."""

    link: LabLink
    _number: int
    _reversed: bool
    _emulator: Emulator

    def cut(self, *, silent: bool = True) -> None:
        """Lose every frame, those on the line too.

        Silent: both switches go on seeing a carrier. Raises RelayFailed.
        """
        self._emulator.ask({"op": "cut", "link": self._number, "silent": silent})

    def restore(self) -> None:
        """Undo a cut."""
        self._emulator.ask({"op": "restore", "link": self._number})

    def set(
        self, *, rate_mbps: float | None = None, delay_ms: float | None = None, loss: float | None = None
    ) -> None:
        """Change what is given, in both directions; raises RelayFailed on a figure that is no link."""
        wanted = {"rate_mbps": rate_mbps, "delay_ms": delay_ms, "loss": loss}
        changes = {key: value for key, value in wanted.items() if value is not None}
        self._emulator.ask({"op": "set", "link": self._number, **changes})

    def stats(self) -> LinkStats:
        """Both directions' counters since the lab started."""
        stats = self._emulator.stats().links[self._number]
        return LinkStats(stats.b_to_a, stats.a_to_b) if self._reversed else stats
