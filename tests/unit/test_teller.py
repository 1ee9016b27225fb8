"""How often the other apps are told of the fabric follows from how large it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from ryu_apps.discovering.hosts import HostTable
from ryu_apps.discovering.links import LinkTable
from ryu_apps.discovering.ports import Ports
from ryu_apps.discovering.probes import ProbeSigner
from ryu_apps.discovering.telling import Teller
from stitching.network import Network


class _Connection:
    """A switch as far as it matters here: it takes all that is sent."""

    def __init__(self, dpid: int) -> None:
        self.id = dpid
        self.ports: Mapping[int, Any] = {}
        self.rtt_s: float | None = None
        self.lag_s = 0.0

    def send(self, data: bytes) -> bool:
        return bool(data)


class _Fabric:
    def __init__(self, n_switches: int) -> None:
        self.now_s = 100.0
        self.told_s: list[float] = []
        table = LinkTable(1.0, {})
        ports = Ports(ProbeSigner(b"k" * 16), table, 1.0, Counter(), self._clock)
        for dpid in range(n_switches):
            ports.add(_Connection(dpid))
        self.teller = Teller(ports, table, HostTable(), self._tell, self._clock)

    def _clock(self) -> float:
        return self.now_s

    def _tell(self, _network: Network) -> None:
        self.told_s.append(self.now_s)

    def change_for(self, duration_s: float, *, at_once: bool = False) -> None:
        """Something is another each millisecond."""
        end_s = self.now_s + duration_s
        while self.now_s < end_s:
            self.teller.changed(at_once=at_once)
            self.teller.publish_if_due()
            self.now_s += 0.001


@pytest.mark.parametrize(("n_switches", "most"), [(1, 50), (100, 34), (1000, 9)])
def test_the_larger_the_fabric_the_rarer_it_is_told(n_switches: int, most: int) -> None:
    fabric = _Fabric(n_switches)
    fabric.change_for(1.0)
    assert most - 2 <= len(fabric.told_s) <= most + 1


def test_the_first_change_after_a_pause_is_told_at_once_and_so_is_what_cannot_wait() -> None:
    fabric = _Fabric(1000)
    fabric.change_for(0.002)
    assert fabric.told_s == [100.0]
    fabric.change_for(0.002, at_once=True)
    assert len(fabric.told_s) == 3
