"""The API over a real socket: listens when start() returns, and is gone when stop() does."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import httpx
import pytest

from ryu_apps.rest.server import RestServer, ServerError
from tests.unit.test_rest_fake import TOKEN, FakeController, api_of, red_and_blue

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server() -> Iterator[RestServer]:
    server = RestServer(api_of(FakeController(vnets=red_and_blue())), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


def test_it_answers_as_soon_as_it_has_started(server: RestServer) -> None:
    assert server.port > 0
    answer = httpx.get(f"{server.url}/v1/hosts", headers=HEADERS, trust_env=False)
    assert (answer.status_code, len(answer.json())) == (200, 4)
    assert "server" not in answer.headers


def test_the_token_is_asked_for(server: RestServer) -> None:
    answer = httpx.get(f"{server.url}/v1/hosts", trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_a_problem_and_the_server_lives_on(server: RestServer) -> None:
    with httpx.Client(base_url=server.url, headers=HEADERS, trust_env=False) as client:
        body = (b" " * (1 << 16) for _ in range(17))
        headers = {"Content-Type": "application/json"}
        assert client.post("/v1/stitches", content=body, headers=headers).status_code == 413
        assert client.get("/v1/hosts").status_code == 200


def test_the_log_does_not_hold_the_token(server: RestServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        httpx.get(f"{server.url}/v1/nothing", headers=HEADERS, trust_env=False)
    assert TOKEN not in caplog.text


def test_a_port_that_is_taken_is_said_in_one_line(server: RestServer) -> None:
    second = RestServer(api_of(FakeController()), "127.0.0.1", server.port)
    with pytest.raises(ServerError, match=rf"port {server.port}: address already in use; .*--rest-port"):
        second.start()
    second.stop()


def test_an_address_that_is_not_here_is_said_in_one_line() -> None:
    with pytest.raises(ServerError, match=r"192\.0\.2\.1"):
        RestServer(api_of(FakeController()), "192.0.2.1", 0).start()


def test_a_stopped_server_has_let_go_of_its_port(server: RestServer) -> None:
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/v1/hosts", headers=HEADERS, trust_env=False)
    again = RestServer(api_of(FakeController()), "127.0.0.1", server.port)
    again.start()
    again.stop()


def test_signals_stay_with_the_controller(server: RestServer) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert httpx.get(f"{server.url}/v1/hosts", headers=HEADERS, trust_env=False).status_code == 200
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_bytes_that_are_no_http_do_no_harm(server: RestServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{server.url}/v1/hosts", headers=HEADERS, trust_env=False).status_code == 200
