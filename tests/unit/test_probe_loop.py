"""Long packets leave room for the probes by which tunnels are judged."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from vte_agent.probing.loop import LONG_APART_S, ProbeLoop


def a_tunnel(due_s: float, sent: list[float]) -> Any:
    def send(now_s: float, rtt_s: float) -> None:
        assert rtt_s == 0.25
        sent.append(now_s)

    session = SimpleNamespace(alive=lambda _: SimpleNamespace(rtt_s=0.25))
    return SimpleNamespace(mtu=SimpleNamespace(due_s=due_s, send=send), session=session)


def test_long_packets_of_all_tunnels_together_are_sent_one_at_a_time_and_some_time_apart() -> None:
    orders, other = os.pipe()
    loop = cast(Any, ProbeLoop(lambda _: None, orders, lambda: None))
    sent: list[float] = []
    now_s = 100.0
    while now_s < 101.0:
        again_s = loop._send_long(a_tunnel(0.0, sent), now_s)
        assert again_s > now_s
        now_s += 0.004
    gaps = [later - sooner for sooner, later in pairwise(sent)]
    assert 40 <= len(sent) <= 51 and min(gaps) >= LONG_APART_S
    assert loop._send_long(a_tunnel(200.0, sent), 150.0) == 200.0, "it is not due yet"
    assert loop._send_long(a_tunnel(math.inf, sent), 150.0) == loop._send_long(None, 150.0) == math.inf
    loop._epoll.close()
    os.close(orders)
    os.close(other)
