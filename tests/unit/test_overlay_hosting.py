"""Who was cut, or came anew, has no say any more: what it says until its end has closed is left."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed

from ryu_apps.overlay.book import Agent
from ryu_apps.overlay.hosting import GateListener, Hosting
from vte_agent.protocol.frames import Hello, Moved, encode

HELLO, MOVED = encode(Hello(version=1)), encode(Moved(at_s=1.0, prefix="10.0.0.0/24"))
SERIAL = 5


class Connection:
    """Gives what it is told to, until it is closed."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[str | None] = asyncio.Queue()
        self.protocol = SimpleNamespace(close_rcvd=None)

    async def recv(self) -> str:
        said = await self.says.get()
        if said is None:
            raise ConnectionClosed(None, None)
        return said

    async def send(self, _frames: object) -> None: ...

    async def close(self, *_: object) -> None:
        self.says.put_nowait(None)

    async def is_heard(self) -> None:
        while self.says.qsize():
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def agent(expires_s: float) -> tuple[Agent, Connection]:
    connection = Connection()
    return Agent(SERIAL, "ber", expires_s, cast(Any, connection), "198.51.100.1"), connection


@pytest.mark.parametrize("first", [(HELLO,), ()])
def test_who_is_cut_is_gone_with_its_last_word(first: tuple[str, ...]) -> None:
    async def play() -> list[str]:
        heard: list[str] = []
        now = [1_000.0]
        hosting = Hosting(cast(Any, None), cast(Any, None), _listener(heard), lambda: now[0])
        one, connection = agent(1_010.0)
        # It is being sent something, which it reads slowly: it is closed after that.
        await one.sending.acquire()
        ends = asyncio.create_task(hosting.welcome(one))
        for said in first:
            connection.says.put_nowait(said)
        await asyncio.sleep(0)
        await connection.is_heard()
        now[0] = 1_011.0
        hosting.sweep()
        for said in (*((HELLO,) if not first else ()), MOVED):
            connection.says.put_nowait(said)
        await connection.is_heard()
        one.sending.release()
        await asyncio.wait_for(ends, 5)
        return heard

    assert asyncio.run(play()) == (["came", "gone"] if first else [])


def test_of_two_that_come_as_one_the_later_has_the_say() -> None:
    async def play() -> list[str]:
        heard: list[str] = []
        hosting = Hosting(cast(Any, None), cast(Any, None), _listener(heard), lambda: 1_000.0)
        (old, old_connection), (new, new_connection) = agent(2_000.0), agent(2_000.0)
        await old.sending.acquire()
        ends = [asyncio.create_task(hosting.welcome(old))]
        old_connection.says.put_nowait(HELLO)
        await asyncio.sleep(0)
        await old_connection.is_heard()
        ends.append(asyncio.create_task(hosting.welcome(new)))
        new_connection.says.put_nowait(HELLO)
        await asyncio.sleep(0)
        await new_connection.is_heard()
        old_connection.says.put_nowait(MOVED)
        await old_connection.is_heard()
        heard.append("the later says")
        new_connection.says.put_nowait(MOVED)
        await new_connection.is_heard()
        old.sending.release()
        await new.connection.close()
        await asyncio.wait_for(asyncio.gather(*ends), 5)
        return heard

    assert asyncio.run(play()) == ["came", "came", "the later says", "said", "gone"]


def _listener(heard: list[str]) -> GateListener:
    return GateListener(
        on_hello=lambda *_: heard.append("came"),
        on_moved=lambda *_: heard.append("said"),
        on_gone=lambda *_: heard.append("gone"),
    )
