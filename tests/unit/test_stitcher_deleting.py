"""Many stitches that are to go at once are stored once, not one after the other; each is answered for itself."""

from __future__ import annotations

import pytest

from ryu_apps.app import Event
from ryu_apps.events import ApplyStages, DeleteStitch
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.stitch import State, Stitch, VmRequest
from tests.unit.stitcher_bench import A, B, Bench, MemoryStore, bench, create, store

__all__ = ["bench", "store"]

COUNT = 8


class MoreToCome:
    """A queue in which something always waits."""

    def qsize(self) -> int:
        return 1


@pytest.fixture
def stitches(bench: Bench) -> list[Stitch]:
    applications = [Application(ip_proto=6, target_port=port) for port in range(1, COUNT + 1)]
    return [create(bench, VmRequest(A, B, 1.0, application=application)) for application in applications]


@pytest.fixture
def writes(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many stitches each write to the store was of."""
    counted: list[int] = []
    save = store.save_stitches

    def counting(stitches: list[Stitch]) -> None:
        counted.append(len(stitches))
        save(stitches)

    monkeypatch.setattr(store, "save_stitches", counting)
    return counted


@pytest.fixture
def posted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What the stitcher has put in its own queue, in which more waits."""
    found: list[Event] = []
    monkeypatch.setattr(bench, "post", found.append)
    bench.events = MoreToCome()
    return found


def ask_for_all(bench: Bench, numbers: list[int]) -> list[DeleteStitch]:
    requests = [DeleteStitch(number) for number in numbers]
    for request in requests:
        bench.on_delete(request)
    return requests


def test_those_that_are_asked_for_together_are_stored_in_one_write(
    bench: Bench, stitches: list[Stitch], writes: list[int], posted: list[Event]
) -> None:
    requests = ask_for_all(bench, [stitch.id for stitch in stitches])
    assert (writes, len(posted)) == ([], 1) and not any(request.future.done() for request in requests)
    bench.on_deletions(None)
    assert writes == [COUNT]
    assert [request.future.result(0).state for request in requests] == [State.TERMINATING] * COUNT
    assert not bench._to_delete
    bench.on_deletions(None)
    assert writes == [COUNT]


def test_one_alone_is_stored_and_answered_at_once(bench: Bench, stitches: list[Stitch], writes: list[int]) -> None:
    (request,) = ask_for_all(bench, [stitches[0].id])
    assert request.future.result(0).state is State.TERMINATING and writes == [1]


@pytest.mark.usefixtures("posted")
def test_each_is_answered_for_itself(bench: Bench, stitches: list[Stitch], writes: list[int]) -> None:
    first = stitches[0].id
    gone, twice, unknown, other = ask_for_all(bench, [first, first, 999, stitches[1].id])
    bench.on_deletions(None)
    assert writes == [2]
    assert gone.future.result(0) == twice.future.result(0)
    assert other.future.result(0).state is State.TERMINATING
    with pytest.raises(LookupError, match="there is no stitch 999"):
        unknown.future.result(0)


@pytest.mark.usefixtures("posted")
def test_what_cannot_be_stored_is_not_begun_and_what_was_going_goes_on(
    bench: Bench, store: MemoryStore, stitches: list[Stitch]
) -> None:
    bench._desk.delete(stitches[0].id)
    before = [event for event in bench.told if isinstance(event, ApplyStages)]
    store.full = True
    going, *refused, unknown = ask_for_all(bench, [*(stitch.id for stitch in stitches), 999])
    bench.on_deletions(None)
    assert going.future.result(0).state is State.TERMINATING
    for request in refused:
        with pytest.raises(StoreError):
            request.future.result(0)
    with pytest.raises(LookupError):
        unknown.future.result(0)
    assert [event for event in bench.told if isinstance(event, ApplyStages)] == before
    assert {bench.stitch(stitch.id).state for stitch in stitches[1:]} == {State.ESTABLISHING}


@pytest.mark.usefixtures("posted")
def test_whatever_goes_wrong_everybody_is_answered(
    bench: Bench, stitches: list[Stitch], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(bench._desk, "delete_all", fails)
    for request in ask_for_all(bench, [stitches[0].id, stitches[1].id]):
        bench.on_deletions(None)
        with pytest.raises(RuntimeError):
            request.future.result(0)
