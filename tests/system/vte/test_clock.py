"""A clock that jumps by hours kills no tunnel and makes none look bad: real probes, over a real loopback."""

from __future__ import annotations

import time

import pytest

from tests.system.vte.probed_ends import probed_ends, run
from vte_agent.probing import tunnel_probes
from vte_agent.probing.session import Direction
from vte_agent.probing.tunnel_probes import NEW_S

HOURS_S = 3 * 3600.0


class JumpingTime:
    """What stands for `time` in the prober: its wall clock can be set, as a real one."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


@pytest.mark.parametrize("ahead_s", [HOURS_S, -HOURS_S])
def test_a_clock_that_jumps_by_hours_is_nothing_to_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    clock = JumpingTime()
    monkeypatch.setattr(tunnel_probes, "time", clock)
    said = []
    with probed_ends() as ends:
        run(ends, NEW_S + 1.0)
        for clock.ahead_s in (ahead_s, 0.0, ahead_s):
            said += run(ends, 0.6)
    assert {(one.alive.heard, one.alive.hears, one.bad) for one in said} == {
        (Direction.ALIVE, Direction.ALIVE, "")
    }
    rtts_ms = [one.window.rtt_ms for one in said]
    assert None not in rtts_ms and max(one for one in rtts_ms if one is not None) < 50
