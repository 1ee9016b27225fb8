"""A clock that jumps by hours kills no tunnel and makes none look bad: real probes, over a real loopback."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address

import pytest

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from vte_agent.probing import tunnel_probes
from vte_agent.probing.session import Direction, Need
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth, TunnelProbes
from vte_agent.protocol.wanted import Liveness

HOURS_S = 3 * 3600.0
ENDS = [ip_address(f"127.0.0.{number}") for number in (2, 3)]


class JumpingTime:
    """What stands for `time` in the prober: its wall clock can be set, as a real one."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def probes() -> Iterator[tuple[TunnelProbes, TunnelProbes]]:
    """Both ends of a tunnel."""
    with ExitStack() as stack:
        place = Enclosure("clock")
        stack.callback(place.close)
        with network_of(place.pid):
            one, other = (
                stack.enter_context(
                    closing(
                        TunnelProbes(
                            ProbedTunnel("t", "lo", ENDS[end], ENDS[1 - end], 1, Liveness(), Need.USED),
                            discriminator=end + 1,
                            now_s=time.monotonic(),
                        )
                    )
                )
                for end in (0, 1)
            )
        yield one, other


def run(probes: tuple[TunnelProbes, ...], seconds: float) -> list[TunnelHealth]:
    """What both ends say all the time."""
    said = []
    readers = {source: one for one in probes for source in one.readers}
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        for one in probes:
            one.send_due(now_s)
        for source in select.select(list(readers), [], [], 0.01)[0]:
            readers[source].read(source)
        for one in probes:
            late_s = max(0.0, time.monotonic() - now_s - 0.01)
            one.judge(time.monotonic(), late_s)
            said.append(one.health(time.monotonic()))
    return said


@pytest.mark.parametrize("ahead_s", [HOURS_S, -HOURS_S])
def test_a_clock_that_jumps_by_hours_is_nothing_to_a_tunnel(
    probes: tuple[TunnelProbes, TunnelProbes], monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    clock = JumpingTime()
    monkeypatch.setattr(tunnel_probes, "time", clock)
    run(probes, 1.0)
    said = []
    for clock.ahead_s in (ahead_s, 0.0, ahead_s):
        said += run(probes, 0.6)
    assert {(one.alive.heard, one.alive.hears, one.bad) for one in said} == {
        (Direction.ALIVE, Direction.ALIVE, "")
    }
    rtts_ms = [one.window.rtt_ms for one in said if one.window.rtt_ms is not None]
    assert rtts_ms and max(rtts_ms) < 50
