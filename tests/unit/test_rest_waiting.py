"""Waiting until a stitch is up: the answer says how it ended, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ryu_apps.events import CreateStitch, StitchesRequest
from ryu_apps.rest.api import create_api
from ryu_apps.rest.server import RestServer
from stitching.stitch import State, Stitch
from tests.unit.test_rest_fake import NOW_S, TOKEN, Caller, FakeController, api_of, problem, red_and_blue

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}
MANY = 1000


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


@pytest.mark.parametrize("state", [State.UP, State.DEGRADED])
def test_it_is_there_once_the_data_plane_carries_it(
    call: Caller, controller: FakeController, state: State
) -> None:
    controller.after_create = [State.ESTABLISHING, State.ESTABLISHING, state, state]
    made = call("POST", "/v1/stitches?wait=up", json=WANTED)
    assert (made.status_code, made.json()["state"]) == (201, state.value)
    assert made.headers["location"] == "/v1/stitches/1"


@pytest.mark.parametrize("state", [State.FAILED, State.TERMINATED, State.DOWN])
def test_one_that_does_not_come_up_is_a_problem_with_the_reason(
    call: Caller, controller: FakeController, state: State
) -> None:
    controller.after_create = [State.ESTABLISHING, state, state]
    answer = call("POST", "/v1/stitches?wait=up", json=WANTED)
    said = problem(answer, 409)
    assert said["type"].endswith(":not-up")
    assert said["detail"] == f"stitch 1 is {state}: as the test wants"
    assert answer.headers["location"] == "/v1/stitches/1" and "/v1/stitches/1" in said["remedy"]


def test_one_that_takes_longer_is_on_its_way(call: Caller) -> None:
    made = call("POST", "/v1/stitches?wait=up&wait_s=0.03", json=WANTED)
    assert (made.status_code, made.json()["state"]) == (202, "establishing")
    assert made.headers["location"] == "/v1/stitches/1"


@pytest.mark.parametrize("query", ["wait=down", "wait=", "wait=up&wait_s=31", "wait=up&wait_s=nan"])
def test_what_cannot_be_waited_for_is_a_problem(call: Caller, controller: FakeController, query: str) -> None:
    problem(call("POST", f"/v1/stitches?{query}", json=WANTED), 422)
    assert controller.stitches == {}


class Slow(FakeController):
    """Takes every stitch that is wanted, and has none of them up before it is told."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.go = threading.Event()
        self._numbers = itertools.count(1)

    def ask(self, name: str, request: Any, timeout_s: float, /) -> Any:
        if isinstance(request, CreateStitch):
            number = next(self._numbers)
            return self.add(Stitch(number, request.request, State.ESTABLISHING, NOW_S, NOW_S))
        if isinstance(request, StitchesRequest) and self.go.is_set():
            return tuple(replace(stitch, state=State.UP) for stitch in self.stitches.values())
        return super().ask(name, request, timeout_s)


@pytest.fixture
def slow() -> Iterator[tuple[Slow, RestServer]]:
    controller = Slow(vnets=red_and_blue())
    server = RestServer(create_api(controller.ask, token=TOKEN), "127.0.0.1", 0)
    server.start()
    yield controller, server
    controller.go.set()
    server.stop()


@pytest.fixture
def _sockets() -> Iterator[None]:
    """Room for both ends of all connections in this one process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 2 * before[0] + 4 * MANY), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def asked(server: RestServer, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """The status and JSON of an answer, on a connection of its own."""
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(head.encode() + content)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.usefixtures("_sockets")
def test_a_thousand_who_wait_hold_up_no_reader(slow: tuple[Slow, RestServer]) -> None:
    controller, server = slow

    async def go() -> list[tuple[int, Any]]:
        path = "/v1/stitches?wait=up"
        waiting = [asyncio.create_task(asked(server, "POST", path, WANTED)) for _ in range(MANY)]
        async with asyncio.timeout(30):
            while len(controller.stitches) < MANY:
                await asyncio.sleep(0.01)
        # All of them wait now; a reader would not be answered if their waiting took the threads that answer it.
        for path in ("/v1/hosts", "/v1/topology", "/v1/vnets", "/v1/stitches?limit=1"):
            async with asyncio.timeout(5):
                assert (await asked(server, "GET", path))[0] == 200
        assert not any(task.done() for task in waiting)
        controller.go.set()
        return await asyncio.gather(*waiting)

    answers = asyncio.run(go())
    assert {status for status, _ in answers} == {201}
    assert {content["state"] for _, content in answers} == {"up"}
    assert {content["id"] for _, content in answers} == set(range(1, MANY + 1))


def test_those_who_wait_ask_together() -> None:
    slow = Slow(vnets=red_and_blue())
    api = create_api(slow.ask, token=TOKEN)

    async def go() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            waiting = [
                asyncio.create_task(client.post("/v1/stitches?wait=up&wait_s=0.2", json=WANTED)) for _ in range(50)
            ]
            return await asyncio.gather(*waiting)

    assert {answer.status_code for answer in asyncio.run(go())} == {202}
    asked = sum(isinstance(request, StitchesRequest) for request in slow.asked)
    assert 0 < asked < 200, "each on its own would ask ten times"
