"""The thread that keeps routes goes on after what the kernel refuses, and does all that it was told."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.system.waiting import wait_until
from vte_agent import steering as module
from vte_agent.protocol.wanted import WantedRoute
from vte_agent.route_tables import UplinkWay, Ways
from vte_agent.steering import Steered, Steering

FAR = ip_network("10.2.0.0/24")
WAY = UplinkWay(1, "eth0", ip_address("192.0.2.1"), ip_address("192.0.2.254"))


class FakeRouter:
    """A kernel that has no room a few times."""

    def __init__(self) -> None:
        self.refuses = 0
        self.applied: list[Ways] = []

    def __enter__(self) -> FakeRouter:
        return self

    def __exit__(self, *_: object) -> None: ...

    def devices(self) -> dict[object, str]:
        return {}

    def refresh(self) -> None: ...

    def add(self, _ways: Ways) -> tuple[str, ...]:
        if self.refuses:
            self.refuses -= 1
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return ()

    def apply(self, ways: Ways) -> tuple[str, ...]:
        self.applied.append(ways)
        return ()

    def clear(self) -> tuple[str, ...]:
        return ()


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    made = FakeRouter()
    monkeypatch.setattr(module, "Router", lambda: made)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    return made


@pytest.fixture
def steering(router: FakeRouter) -> Iterator[Steering]:
    router.refuses = 0
    made = Steering()
    made.start(cast(Any, SimpleNamespace(health=dict, need=lambda _: None)))
    yield made
    made.stop()


def test_what_the_kernel_has_no_room_for_once_is_done_with_the_next_turn(
    router: FakeRouter, steering: Steering
) -> None:
    router.refuses = 2
    steering.want(Steered(routes=(WantedRoute(prefixes=(FAR,), tunnels=("t",)),), uplinks=(WAY,)))
    assert steering.leads_out((WAY,), 5.0) and not router.refuses
    wait_until(
        lambda: any((FAR, None) in ways.devices for ways in router.applied), 5.0, "the route is not looked after"
    )


def test_who_waits_for_a_way_out_hears_that_nobody_makes_it_any_more(
    router: FakeRouter, steering: Steering
) -> None:
    router.refuses = 1_000_000
    steering.want(Steered(uplinks=(WAY,)))
    assert not steering.leads_out((WAY,), 0.1)
    steering.stop()
    assert steering.leads_out((WAY,), 0.0), "it would wait in vain"
