"""Idempotency keys: done once, answered the same again, also after a restart, and to nobody else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ryu_apps.events import CreateStitch
from ryu_apps.rest.access import answers
from ryu_apps.rest.access.answers import KEPT_S, AnswerBook
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.rest.problems import Problem
from ryu_apps.store import AccessStore, StoreError
from ryu_apps.store.access import AnswerRecord, Batch
from ryu_apps.store.engine import Database
from tests.unit.test_rest_fake import (
    NOW_S,
    TOKEN,
    Caller,
    FakeController,
    api_of,
    caller_as,
    problem,
    red_and_blue,
)

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}
KEY = {"Idempotency-Key": "5c0ffee5"}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def created(controller: FakeController) -> int:
    return sum(isinstance(request, CreateStitch) for request in controller.asked)


def same(first: httpx.Response, again: httpx.Response) -> None:
    assert again.status_code == first.status_code
    assert again.content == first.content
    for header in ("content-type", "location"):
        assert again.headers.get(header) == first.headers.get(header)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_the_same_request_is_done_once_and_answered_the_same(call: Caller, controller: FakeController) -> None:
    first = call("POST", "/v1/stitches", json=WANTED, headers=KEY)
    same(first, call("POST", "/v1/stitches", json=WANTED, headers=KEY))
    assert (first.status_code, created(controller)) == (201, 1)
    assert (
        first.headers["x-request-id"]
        != call("POST", "/v1/stitches", json=WANTED, headers=KEY).headers["x-request-id"]
    )


def test_an_answer_that_said_no_is_the_same_again_too(call: Caller) -> None:
    wanted = {**WANTED, "bandwidth_mbps": 11}
    first = call("POST", "/v1/stitches", json=wanted, headers=KEY)
    problem(first, 409)
    same(first, call("POST", "/v1/stitches", json=wanted, headers=KEY))


def test_another_request_with_the_key_is_refused(call: Caller, controller: FakeController) -> None:
    call("POST", "/v1/stitches", json=WANTED, headers=KEY)
    for path, body in (
        ("/v1/stitches", {**WANTED, "bandwidth_mbps": 5.0}),
        ("/v1/stitches?wait_s=0", WANTED),
        ("/v1/vnets", WANTED),
    ):
        said = problem(call("POST", path, json=body, headers=KEY), 422)
        assert (said["field"], said["type"].rpartition(":")[2]) == ("Idempotency-Key", "key-reused")
    assert created(controller) == 1


def test_a_key_is_that_of_one_token(call: Caller) -> None:
    first = call("POST", "/v1/vnets", json={"name": "green"}, headers=KEY)
    other = caller_as(call, "operator")("POST", "/v1/vnets", json={"name": "black"}, headers=KEY)
    assert (first.status_code, other.status_code) == (201, 201)


def test_a_failure_of_the_controller_gives_the_key_back(call: Caller, controller: FakeController) -> None:
    controller.broken["Stitcher"] = StoreError("disk is full")
    problem(call("POST", "/v1/stitches", json=WANTED, headers=KEY), 503)
    controller.broken["Stitcher"] = KeyError("a fault")
    problem(call("POST", "/v1/stitches", json=WANTED, headers=KEY), 500)
    controller.broken.clear()
    assert call("POST", "/v1/stitches", json=WANTED, headers=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "\xe9", "a\tb"])
def test_a_key_that_is_none_is_a_problem(call: Caller, controller: FakeController, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    assert problem(call("POST", "/v1/stitches", json=WANTED, headers=headers), 422)["field"] == "Idempotency-Key"
    assert created(controller) == 0


def test_a_key_on_what_changes_nothing_is_of_no_use_and_no_harm(call: Caller) -> None:
    first = call("POST", "/v1/stitches/check", json=WANTED, headers=KEY)
    assert first.status_code == call("POST", "/v1/stitches", json=WANTED, headers=KEY).status_code - 1 == 200


def test_while_the_first_is_under_way_the_second_is_told_so(controller: FakeController) -> None:
    asked, go = threading.Event(), threading.Event()

    def ask(name: str, request: Any, timeout_s: float, /) -> Any:
        if isinstance(request, CreateStitch):
            asked.set()
            assert go.wait(10)
        return controller.ask(name, request, timeout_s)

    api = create_api(ask, token=TOKEN)

    async def both() -> tuple[httpx.Response, httpx.Response]:
        headers = {**KEY, "Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            first = asyncio.create_task(client.post("/v1/stitches", json=WANTED))
            await asyncio.to_thread(asked.wait, 10)
            second = await client.post("/v1/stitches", json=WANTED)
            go.set()
            return await first, second

    first, second = asyncio.run(both())
    assert first.status_code == 201
    assert problem(second, 409)["type"].endswith(":in-progress")


def test_after_a_restart_the_answer_is_the_same(tmp_path: Path, controller: FakeController) -> None:
    def started() -> Caller:
        store = AccessStore(Database(f"sqlite:///{tmp_path / 'lockstitch.db'}", durable=True))
        return Caller(api_of(controller, store=store))

    first = started()("POST", "/v1/stitches", json=WANTED, headers=KEY)
    same(first, started()("POST", "/v1/stitches", json=WANTED, headers=KEY))
    problem(started()("POST", "/v1/stitches", json={**WANTED, "source": "h3"}, headers=KEY), 422)
    assert created(controller) == 1


def test_what_was_cut_short_by_a_restart_is_not_done_twice(tmp_path: Path, controller: FakeController) -> None:
    store = AccessStore(Database(f"sqlite:///{tmp_path / 'lockstitch.db'}", durable=True))
    body = b'{"name": "green"}'
    asked = answers.fingerprint("POST", "/v1/vnets", b"", body)
    store.write(Batch(answers=[AnswerRecord("bootstrap", KEY["Idempotency-Key"], asked, NOW_S)]))
    call = Caller(api_of(controller, store=store))
    headers = {**KEY, "Content-Type": "application/json"}
    said = problem(call("POST", "/v1/vnets", content=body, headers=headers), 409)
    assert said["type"].endswith(":outcome-unknown") and "new key" in said["remedy"]
    assert "green" not in controller.vnets


def test_a_key_is_kept_for_a_day(controller: FakeController) -> None:
    now_s = NOW_S
    call = Caller(api_of(controller, ApiSettings(clock=lambda: now_s)))
    call("POST", "/v1/vnets", json={"name": "green"}, headers=KEY)
    now_s += KEPT_S - 1
    assert call("POST", "/v1/vnets", json={"name": "green"}, headers=KEY).status_code == 201
    now_s += 1
    problem(call("POST", "/v1/vnets", json={"name": "green"}, headers=KEY), 409)


def test_a_secret_is_not_kept_to_be_shown_again(call: Caller) -> None:
    body = {"name": "one", "role": "viewer"}
    first = call("POST", "/v1/tokens", json=body, headers=KEY)
    assert first.status_code == 201
    said = problem(call("POST", "/v1/tokens", json=body, headers=KEY), 409)
    assert said["type"].endswith(":shown-once")
    assert len(call("GET", "/v1/tokens").json()) == 1


def test_only_so_much_is_kept_of_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_KEYS", 3)
    book = AnswerBook(AccessStore.in_memory(), lambda: NOW_S)
    dropped = []
    for number in range(6):
        record = book.claim("t", str(number), "asked")
        assert record is not None
        dropped += book.settle(AnswerRecord("t", str(number), "asked", NOW_S, 201, "[]", b"x"))
    assert dropped == [("t", "0"), ("t", "1"), ("t", "2")]
    assert book.claim("other", "5", "asked") is not None


class Keys(RuleBasedStateMachine):
    """Two tokens, few keys and few requests, against a model of what was done under them, and when."""

    @initialize()
    def start(self) -> None:
        self.now_s = NOW_S
        self.store = AccessStore.in_memory()
        self.book = AnswerBook(self.store, lambda: self.now_s)
        self.done: dict[tuple[str, str], tuple[str, float, int]] = {}
        self.running: dict[tuple[str, str], AnswerRecord] = {}
        self.unknown: dict[tuple[str, str], tuple[str, float]] = {}
        self.answers = 0

    @rule(token=st.sampled_from("ab"), key=st.sampled_from("12"), asked=st.sampled_from("xy"))
    def ask(self, token: str, key: str, asked: str) -> None:
        place = token, key
        known = self._known(place)
        try:
            record = self.book.claim(token, key, asked)
        except Problem as said:
            kind = said.view.type.rpartition(":")[2]
            assert known is not None
            wrong = known[0] != asked
            unknown = "outcome-unknown" if place in self.unknown else "in-progress"
            assert kind == ("key-reused" if wrong else unknown)
            assert wrong or place not in self.done
            return
        if record is None:
            assert known is not None and known[0] == asked
            stored = self.book.read(token, key)
            assert stored is not None and stored.content == str(self.done[place][2]).encode()
        else:
            assert known is None, "never done twice"
            for of in (self.done, self.running, self.unknown):
                of.pop(place, None)
            self.running[place] = record
            self.store.write(Batch(answers=[record]))

    @rule(data=st.data(), fails=st.booleans())
    def answer(self, data: st.DataObject, *, fails: bool) -> None:
        if not self.running:
            return
        place = data.draw(st.sampled_from(sorted(self.running)))
        record = self.running.pop(place)
        if fails:
            self.book.release(*place)
            self.store.write(Batch(released=[place]))
            return
        self.answers += 1
        content = str(self.answers).encode()
        settled = AnswerRecord(*place, record.asked, record.time_s, 201, "[]", content)
        self.store.write(Batch(released=self.book.settle(settled), answers=[settled]))
        self.done[place] = record.asked, record.time_s, self.answers

    @rule(hours=st.integers(1, 20))
    def wait(self, hours: int) -> None:
        # Nothing is under way for hours.
        if not self.running:
            self.now_s += hours * 3600.0

    @rule()
    def restart(self) -> None:
        self.unknown.update({place: (record.asked, record.time_s) for place, record in self.running.items()})
        self.running.clear()
        self.book = AnswerBook(self.store, lambda: self.now_s)

    def _known(self, place: tuple[str, str]) -> tuple[str, float] | None:
        if place in self.running:
            return self.running[place].asked, self.running[place].time_s
        known = self.done[place][:2] if place in self.done else self.unknown.get(place)
        return known if known is not None and self.now_s - known[1] < KEPT_S else None


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
