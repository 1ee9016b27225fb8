"""What all tunnels of a node share: time, of which long packets leave enough, and files that may be open."""

from __future__ import annotations

import errno
import math
import os
import socket
from ipaddress import IPv4Address
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from vte_agent.probing.loop import LONG_APART_S, ProbeLoop
from vte_agent.probing.tunnel_probes import MOST_STAMPS_PER_S, ProbedTunnel


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


@pytest.mark.parametrize(("tunnels", "times"), [(1, 1.0), (10, 1.0), (11, 1.1), (30, 3.0)])
def test_all_tunnels_together_are_measured_so_often_at_most(tunnels: int, times: float) -> None:
    orders, other = os.pipe()
    loop = cast(Any, ProbeLoop(lambda _: None, orders, lambda: None))
    paces: list[float] = []
    for number in range(tunnels):
        loop._tunnels[f"{number}"] = SimpleNamespace(stamps_per_s=MOST_STAMPS_PER_S / 10, pace=paces.append)
    loop._pace()
    assert paces == [pytest.approx(times)] * tunnels
    loop._epoll.close()
    os.close(orders)
    os.close(other)


@pytest.mark.parametrize("free", range(5))
def test_a_tunnel_for_which_no_file_is_left_is_named_and_nothing_of_it_stays(
    free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = socket.socket, list[socket.socket]()

    def scarce(*_: int) -> socket.socket:
        if len(made) == free:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(MagicMock(spec=real))
        made[-1].getsockname.return_value = ("lo", 0, 0, 1, b"")  # type: ignore[attr-defined]
        return made[-1]

    orders, other = os.pipe()
    loop = ProbeLoop(lambda _: None, orders, lambda: None)
    monkeypatch.setattr(socket, "socket", scarce)
    ends = IPv4Address("127.0.1.1"), IPv4Address("127.0.1.2")
    why = loop.add(ProbedTunnel("t", "lo", *ends, peer=1))
    monkeypatch.undo()
    assert "Too many open files. Each tunnel takes 5 open files: allow more" in why
    assert loop.health() == {} and all(one.close.called for one in made)  # type: ignore[attr-defined]
    loop.stop()
    loop.run()
    os.close(orders)
    os.close(other)
