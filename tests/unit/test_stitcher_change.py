"""A stitch that is up takes other terms without a gap, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.events import ApplyStages, ChangeStitch
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.plan import NotPossible
from stitching.stitch import BadTransition, Protection, State, Stitch, StitchPath, StitchRequest
from tests.unit.test_stitcher import REQUEST, Bench, MemoryStore, bench, create, store, up, way

__all__ = ["bench", "store"]


def change(bench: Bench, request: StitchRequest, number: int = 1) -> Stitch:
    asked = ChangeStitch(number, request)
    bench.on_change(asked)
    return asked.future.result(0)


def batches(bench: Bench) -> int:
    return sum(isinstance(event, ApplyStages) for event in bench.told)


def test_another_bandwidth_is_promised_on_the_same_path_and_no_rule_changes(
    bench: Bench, store: MemoryStore
) -> None:
    up(bench)
    before = batches(bench)
    changed = change(bench, replace(REQUEST, bandwidth_mbps=REQUEST.bandwidth_mbps + 1, labels=(("a", "b"),)))
    assert (changed.state, changed.request.labels) == (State.UP, (("a", "b"),))
    assert changed.request.bandwidth_mbps == REQUEST.bandwidth_mbps + 1
    assert batches(bench) == before
    assert store.stitches()[0].request == changed.request


def test_other_terms_are_made_before_the_old_ones_are_broken(bench: Bench) -> None:
    up(bench)
    changed = change(bench, replace(REQUEST, protection=Protection.LINK))
    assert changed.state is State.ADJUSTING
    assert isinstance(changed.path, StitchPath) and changed.path.backup is not None
    bench.confirm()
    bench.probe_tick()
    bench.all_probes_cross()
    assert (bench.stitch().state, bench.stitch().request.protection) == (State.UP, Protection.LINK)


def test_what_cannot_be_had_leaves_all_as_it_was(bench: Bench) -> None:
    stitch = up(bench)
    with pytest.raises(NotPossible, match="1000 Mbit/s"):
        change(bench, replace(REQUEST, bandwidth_mbps=1000.0))
    assert (bench.stitch().request, way(bench)) == (stitch.request, [hop.dpid for hop in stitch.path.hops])  # type: ignore[union-attr]


def test_only_a_stitch_that_is_up_is_changed_and_never_for_other_packets(bench: Bench) -> None:
    create(bench)
    with pytest.raises(BadTransition, match="when it is up"):
        change(bench, REQUEST)
    with pytest.raises(LookupError, match="no stitch 9"):
        change(bench, REQUEST, 9)


def test_a_stitch_keeps_its_packets(bench: Bench) -> None:
    up(bench)
    with pytest.raises(NotPossible, match="same packets"):
        change(bench, replace(REQUEST, application=Application(6)))


def test_what_could_not_be_stored_is_not_promised(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    store.full = True
    with pytest.raises(StoreError):
        change(bench, replace(REQUEST, bandwidth_mbps=9.0))
    store.full = False
    assert bench.stitch().request == REQUEST
    assert change(bench, replace(REQUEST, bandwidth_mbps=9.0)).request.bandwidth_mbps == 9.0
