"""Events over a real socket: in order, resumed where they were left, within the scope, and ended with a reason."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.feed import Feed
from ryu_apps.rest import events as events_module
from ryu_apps.rest import sse, stream
from ryu_apps.rest.server import RestServer
from tests.unit.test_rest_fake import TOKEN, Caller, FakeController, api_of, caller_as, problem, red_and_blue

REQUEST = (
    f"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
)
RED, BLUE = frozenset({"red"}), frozenset({"blue"})


@dataclass
class Served:
    """A server, and the feed behind it."""

    feed: Feed
    call: Caller
    server: RestServer

    @contextlib.contextmanager
    def following(self, token: str = TOKEN, last_id: str | None = None) -> Iterator[Iterator[sse.Event]]:
        """Events as they come; returns once the stream has begun, so that what is told from now on is in it."""
        headers = {"Authorization": f"Bearer {token}"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        with (
            httpx.Client(trust_env=False, timeout=10) as client,
            client.stream("GET", f"{self.server.url}/v1/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            assert next(lines).startswith("retry:")
            yield sse.events(lines)


@pytest.fixture
def served() -> Iterator[Served]:
    feed = Feed(50)
    api = api_of(FakeController(vnets=red_and_blue()), feed=feed)
    server = RestServer(api, "127.0.0.1", 0)
    server.start()
    yield Served(feed, Caller(api), server)
    feed.close()
    server.stop()


def test_what_happens_comes_in_order_with_ids(served: Served) -> None:
    with served.following() as events:
        for number in range(3):
            served.feed.tell(1_790_000_000.0, "link", {"n": number})
        seen = [next(events) for _ in range(3)]
    assert [event.data for event in seen] == [{"time": "2026-09-21T14:13:20Z", "n": n} for n in range(3)]
    assert [event.id for event in seen] == [served.feed.id_of(n) for n in (1, 2, 3)]
    assert {event.kind for event in seen} == {"link"}


def test_who_comes_back_goes_on_where_it_was(served: Served) -> None:
    for number in range(1, 11):
        served.feed.tell(0.0, "link", {"n": number})
    with served.following(last_id=served.feed.id_of(7)) as events:
        assert [next(events).data["n"] for _ in range(3)] == [8, 9, 10]
        served.feed.tell(0.0, "link", {"n": 11})
        assert next(events).data["n"] == 11


@pytest.mark.parametrize(
    "last_id", ["old", "another-3", Feed().id_of(3)], ids=["old", "of another", "of an earlier run"]
)
def test_who_missed_something_is_told_so_and_goes_on_from_now(served: Served, last_id: str) -> None:
    served.feed.tell(0.0, "link", {"n": 1})
    with served.following(last_id=last_id) as events:
        assert next(events).kind == "missed"
        served.feed.tell(0.0, "link", {"n": 2})
        assert next(events).data["n"] == 2


def test_what_is_kept_no_more_is_missed(served: Served) -> None:
    for number in range(100):
        served.feed.tell(0.0, "link", {"n": number})
    with served.following(last_id=served.feed.id_of(20)) as events:
        assert "no longer kept" in next(events).data["reason"]


def test_a_scope_is_told_of_its_own_alone(served: Served) -> None:
    red = caller_as(served.call, "viewer", "red").token
    with served.following(red) as events:
        served.feed.tell(0.0, "switch", {"n": 1})
        served.feed.tell(0.0, "host", {"n": 2}, BLUE)
        served.feed.tell(0.0, "stitch", {"n": 3}, RED | BLUE)
        served.feed.tell(0.0, "stitch", {"n": 4}, RED)
        assert next(events).data["n"] == 4


def test_in_between_it_says_that_it_lives(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.EventStream.__init__, "__kwdefaults__", {"heartbeat_s": 0.05})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        httpx.Client(trust_env=False, timeout=10) as client,
        client.stream("GET", f"{served.server.url}/v1/events", headers=headers) as answer,
    ):
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == ["retry: 2000", "", ": still here", ""]


def test_a_token_that_is_revoked_reads_no_more(served: Served) -> None:
    viewer = caller_as(served.call, "viewer").token
    with served.following(viewer) as events:
        assert served.call("DELETE", f"/v1/tokens/{viewer.partition('.')[0]}").status_code == 204
        served.feed.tell(0.0, "link", {"n": 1})
        seen = list(events)
    assert seen[-1].kind == "cut" and seen[-1].data["reason"] == "token"


def test_the_end_of_the_controller_is_told(served: Served) -> None:
    with served.following() as events:
        served.feed.close()
        (end,) = events
    assert (end.kind, end.data["reason"]) == ("cut", "stopping")


def test_a_reader_who_falls_behind_is_cut_off_with_the_reason(served: Served) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((served.server.host, served.server.port))
    with connection, connection.makefile("rb") as answer:
        connection.sendall(REQUEST)
        assert answer.readline().startswith(b"HTTP/1.1 200")
        while not answer.readline().startswith(b"retry"):
            pass
        # It reads nothing while more happens than the sockets hold and the feed keeps.
        for number in range(3000):
            served.feed.tell(0.0, "link", {"n": number, "filler": "x" * 4000})
        text = answer.read()
    assert b"event: cut" in text and b"too-slow" in text


def test_a_reader_who_takes_nothing_is_let_go(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "SEND_S", 0.2)
    streams: events_module.Streams = served.call.api.state.streams
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((served.server.host, served.server.port))
    with connection, caplog.at_level("WARNING"):
        connection.sendall(REQUEST)
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert streams.total == 1
        for _ in range(50):
            served.feed.tell(0.0, "link", {"filler": "x" * 200_000})
        with served.following() as other:
            while streams.total > 1:
                served.feed.tell(0.0, "link", {"n": 0})
                next(other)
    assert "took nothing for 0.2 s" in caplog.text


def test_only_so_many_read_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MOST_STREAMS_EACH", 2)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with served.following(), served.following():
        answer = httpx.get(f"{served.server.url}/v1/events", headers=headers, trust_env=False)
        assert "close some" in problem(answer, 429)["remedy"]
        with served.following(caller_as(served.call, "viewer").token):
            pass


# reading them --------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=20)))
def test_no_stream_is_more_than_no_events(lines: list[str]) -> None:
    for event in sse.events(line.replace("\n", "") for line in lines):
        assert isinstance(event.data, dict)


objects = st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers(), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["stitch", "link"]), objects), max_size=5))
def test_what_is_written_is_what_is_read(happened: list[tuple[str, dict[str, object]]]) -> None:
    text = "".join(stream._event(kind, data, str(n)) for n, (kind, data) in enumerate(happened))
    seen = list(sse.events(text.split("\n")))
    assert [(event.kind, event.data, event.id) for event in seen] == [
        (kind, json.loads(json.dumps(data)), str(n)) for n, (kind, data) in enumerate(happened)
    ]
