"""Whichever thread asks the kernel has a socket of its own, made once, and gone when it is closed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from vte_agent.netlink import PerThread

FILES = Path("/proc/self/fd")


def test_each_thread_has_one_of_its_own_and_no_request_makes_another_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def counted() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", counted)
    netlink = PerThread(IPRoute)

    def asked() -> object:
        assert [netlink.here.link("get", ifname="lo")[0]["index"] for _ in range(3)] == [1, 1, 1]
        return netlink.here

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        found = [one.submit(asked).result(5), one.submit(asked).result(5), other.submit(asked).result(5)]
        assert found[0] is found[1] is not found[2] and len(made) == 2
    netlink.close()


def test_what_is_closed_is_gone_and_who_asks_again_has_another_one() -> None:
    netlink = PerThread(IPRoute)
    with ThreadPoolExecutor(1) as there:
        before = len(list(FILES.iterdir()))
        for _ in range(3):
            there.submit(lambda: list(netlink.here.link("dump"))).result(5)
            assert list(netlink.here.link("dump"))
            netlink.close()
        assert len(list(FILES.iterdir())) == before
