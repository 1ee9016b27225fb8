"""How often the quality of a tunnel is measured: seldom while it is new, and of many more seldom."""

from __future__ import annotations

import socket
import time
from collections import defaultdict

import pytest

from tests.system.vte.probed_ends import probed_ends, run
from vte_agent.probing import tunnel_probes
from vte_agent.probing.sockets import LIVENESS_PORT, SENDER_PORT, send
from vte_agent.probing.tunnel_probes import NEW_S


def test_a_tunnel_that_has_just_come_up_is_measured_at_once_and_often_only_later() -> None:
    with probed_ends() as ends:
        early = run(ends, 0.8 * NEW_S)
        assert max(one.window.replies for one in early) == 1
        assert any(one.window.rtt_ms is not None for one in early[: len(early) // 2])
        run(ends, 0.2 * NEW_S + 1.5)
        assert run(ends, 0.1)[-1].window.replies >= 10


def test_one_of_many_is_measured_more_seldom_by_as_many_packets_a_window() -> None:
    with probed_ends() as ends:
        run(ends, NEW_S + 1.5)
        alone = run(ends, 0.1)[-1].window.replies
        for one in ends:
            one.pace(4.0)
        run(ends, 4.5)
        of_many = run(ends, 0.1)[-1].window.replies
        assert 10 <= alone <= 21 and 10 <= of_many <= 21
        for one in ends:
            one.pace(1.0)
        # Of the last second there are few, as they were sent.
        assert run(ends, 0.05)[-1].window.replies <= 7


def test_of_little_more_than_there_is_room_for_each_is_still_measured_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = []

    def seen(by: socket.socket, data: bytes) -> None:
        sent.append(by.getsockname()[1])
        send(by, data)

    with probed_ends() as ends:
        run(ends, NEW_S + 0.5)
        for one in ends:
            one.pace(1.4)
        monkeypatch.setattr(tunnel_probes, "send", seen)
        run(ends, 3.5)
    assert sent.count(SENDER_PORT) <= len(ends) * (3.5 * 20 / 1.4 + 2)


def test_what_measures_goes_in_one_turn_with_what_asks_whether_it_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = defaultdict[tuple[str, int], list[float]](list)

    def seen(by: socket.socket, data: bytes) -> None:
        sent[by.getsockname()].append(time.monotonic())
        send(by, data)

    with probed_ends() as ends:
        run(ends, NEW_S + 0.5)
        monkeypatch.setattr(tunnel_probes, "send", seen)
        run(ends, 2.0)
    for address in {address for address, _ in sent}:
        asks, measures = sent[address, LIVENESS_PORT], sent[address, SENDER_PORT]
        together = sum(any(0 <= one - ask < 0.002 for ask in asks) for one in measures)
        assert len(measures) >= 20 and together >= 0.9 * len(measures), (len(measures), together)
