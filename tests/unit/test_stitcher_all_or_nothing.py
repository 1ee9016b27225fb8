"""Room is made for a stitch altogether or not at all: booked, then stored, then done, whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pathing import Oversubscribed
from ryu_apps.app import Tick
from ryu_apps.events import NetworkChanged
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.decisions import ORIGIN
from stitching.match import TCP
from stitching.stitch import State, Stitch, VmRequest
from tests.unit.stitcher_bench import Bench, MemoryStore
from tests.unit.test_stitcher_displacing import PAIRS, bench, fabric, hops, make, promised, settle, states

__all__ = ["bench"]

NO_ROOM = Oversubscribed((1, 2, 2, 1), 9.0, 0.0)


def fails(method: Callable[..., Any], error: Exception, after: int = 0) -> Callable[..., Any]:
    """The same, which fails when it has been called so many times."""
    calls = iter(range(after))

    def called(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise error
        return method(*args, **kwargs)

    return called


def held(bench: Bench) -> dict[Any, Any]:
    """All that is promised, by link."""
    resources = bench._planner.admission.resources
    return {
        key: {(owner, resources.reservation(owner).mbps) for owner in resources.owners(key)}  # type: ignore[union-attr]
        for key in bench._planner.network.links
    }


def stored(bench: Bench) -> dict[int, Stitch]:
    kept = bench._book._store
    assert isinstance(kept, MemoryStore)
    return dict(kept.kept)


@pytest.fixture
def crowded(bench: Bench) -> Bench:
    """Both ways from switch 1 to 2 are taken by two that one of 9 Mbit/s would displace: one of them can move."""
    bench.on_network(NetworkChanged(fabric(round_mbps=7.0)))
    make(bench, 0, 6.0, 3)
    settle(bench)
    make(bench, 1, 1.0, 2)
    settle(bench)
    assert [hops(bench.stitch(number)) for number in (1, 2)] == [[1, 2], [1, 2]]
    return bench


STEPS = {
    "no room for those that move": ("_planner.admission", "move", NO_ROOM, 1),
    "no room for the new one": ("_planner.admission", "displace", NO_ROOM, 0),
    "the disk is full": ("_book._store", "save_stitches", StoreError("disk is full"), 0),
    "the disk is full after one write": ("_book._store", "save_stitches", StoreError("disk is full"), 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_fails_while_room_is_made_leaves_all_as_it_was_or_done(
    crowded: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    part, name, error, after = STEPS[step]
    bench: Any = crowded
    owner = bench
    for attribute in part.split("."):
        owner = getattr(owner, attribute)
    before = held(bench), stored(bench), states(bench), len(bench.told)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails(getattr(owner, name), error, after))
        refused = None
        try:
            make(bench, 2, 10.0, 6)
        except (Oversubscribed, StoreError) as one:
            refused = one
        promised(bench)
    if refused is not None:
        assert (held(bench), stored(bench), states(bench), len(bench.told)) == before
        make(bench, 2, 10.0, 6)
    settle(bench)
    bench.on_tick(Tick("retry"))
    settle(bench)
    promised(bench)
    number = max(stored(bench))
    assert (states(bench)[number], hops(bench.stitch(number))) == (State.UP, [1, 2])
    assert states(bench)[1] is State.UP, "it could move"
    assert {one.id: one.state for one in stored(bench).values()} == states(bench)


@pytest.mark.parametrize("broken", ["book", "store"])
def test_what_fails_while_a_stitch_of_the_trigger_is_replaced_leaves_that_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    make(bench, 0, 6.0, 3, ORIGIN)
    settle(bench)
    before = held(bench), stored(bench), states(bench), len(bench.told)
    with monkeypatch.context() as patch:
        if broken == "book":
            patch.setattr(bench._planner.admission, "book", fails(lambda: None, NO_ROOM))
        else:
            patch.setattr(bench._book._store, "save_stitches", fails(lambda: None, StoreError("disk is full")))
        with pytest.raises((Oversubscribed, StoreError)):
            bench._desk.create(VmRequest(*PAIRS[0], 8.0))
    assert (held(bench), stored(bench), states(bench), len(bench.told)) == before
    made = bench._desk.create(VmRequest(*PAIRS[0], 8.0))
    settle(bench)
    promised(bench)
    assert states(bench)[made.id] is State.UP and states(bench)[1] is State.TERMINATED


def test_two_that_move_for_one_are_told_apart_by_their_labels(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(round_mbps=7.0)))
    for port in (80, 443):
        application = Application(ip_proto=TCP, target_port=port)
        bench._desk.create(VmRequest(*PAIRS[0], 2.0, application=application))
        settle(bench)
    make(bench, 1, 10.0, 6)
    paths = [bench.stitch(number).vm_path for number in (1, 2)]
    assert [[hop.dpid for hop in path.hops] for path in paths if path is not None] == [[1, 3, 2], [1, 3, 2]]
    assert len({path.label for path in paths if path is not None}) == 2
