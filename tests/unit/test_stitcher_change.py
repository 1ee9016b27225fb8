"""A stitch that is up takes other terms without a gap, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, ChangeStitch, NetworkChanged, ReservationsRequest, StitchChanged
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.network import Network
from stitching.plan import NotPossible
from stitching.stitch import BadTransition, Protection, State, Stitch, StitchPath, StitchRequest
from stitching.validity import Validity
from tests.unit.stitcher_bench import REQUEST, Bench, MemoryStore, bench, create, store, triangle, up, way

__all__ = ["bench", "store"]


def change(bench: Bench, request: StitchRequest, number: int = 1, before: StitchRequest | None = None) -> Stitch:
    asked = ChangeStitch(number, request, before)
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


def test_who_has_not_seen_the_last_change_changes_nothing(bench: Bench) -> None:
    up(bench)
    change(bench, replace(REQUEST, priority=5), before=REQUEST)
    with pytest.raises(StitchChanged, match="somebody else"):
        change(bench, replace(REQUEST, priority=6), before=REQUEST)
    assert bench.stitch().request.priority == 5


def test_what_says_nothing_of_the_path_moves_nothing(bench: Bench) -> None:
    stitch = up(bench)
    before = batches(bench)
    valid = Validity(until_s=bench.now_s + 3600.0)
    terms = replace(REQUEST, max_loss=0.5, priority=7, labels=(("a", "b"),), valid=valid, max_latency_ms=500.0)
    assert change(bench, terms).path == stitch.path
    assert (bench.stitch().request, batches(bench)) == (terms, before)


def test_one_that_stays_where_it_is_is_watched_on_its_new_terms(bench: Bench) -> None:
    up(bench)
    change(bench, replace(REQUEST, max_latency_ms=5.0))
    for _ in range(4):
        bench.probe_tick(1.0)
        bench.probes_cross(0.02)
    assert bench.stitch().state is State.DEGRADED and "above 5 ms" in (bench.stitch().reason or "")
    change(bench, replace(REQUEST, max_latency_ms=None))
    bench.probe_tick(1.0)
    bench.probes_cross(0.02)
    assert bench.stitch().state is State.UP


def test_loss_is_limited_from_the_moment_that_it_is_asked_for(bench: Bench) -> None:
    up(bench)
    change(bench, replace(REQUEST, max_loss=0.02))
    for _ in range(20):
        bench.probe_tick(0.2)
        bench.probes_cross()
    for _ in range(3):
        bench.probe_tick(0.21)
        for switch in bench.switches.values():
            switch.packets.clear()
    for _ in range(5):
        bench.probe_tick(0.2)
        bench.probes_cross()
    assert "above 2.00%" in (bench.stitch().reason or "")


def test_times_that_are_over_are_refused_and_times_to_come_are_waited_for(bench: Bench) -> None:
    up(bench)
    with pytest.raises(NotPossible, match="still to come"):
        change(bench, replace(REQUEST, valid=Validity(until_s=1.0)))
    assert bench.stitch().request == REQUEST
    change(bench, replace(REQUEST, valid=Validity(from_s=bench.now_s + 3600.0)))
    bench.on_tick(Tick("retry"))
    bench.confirm()
    assert (bench.stitch().state, "waits until" in (bench.stitch().reason or "")) == (State.REQUESTED, True)


def narrow(mbps: float) -> Network:
    whole = triangle()
    return replace(whole, links={key: replace(link, capacity_mbps=mbps) for key, link in whole.links.items()})


def test_one_that_failed_is_tried_on_its_new_terms_at_once(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(narrow(3.0)))
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    changed = change(bench, replace(REQUEST, bandwidth_mbps=9.0))
    assert changed.state is State.FAILED and "9 Mbit/s" in (changed.reason or "")
    assert change(bench, replace(REQUEST, bandwidth_mbps=2.0)).state is State.ESTABLISHING


def test_one_that_waits_waits_on_its_new_terms(bench: Bench) -> None:
    bench._desk.create(replace(REQUEST, valid=Validity(from_s=bench.now_s + 3600.0)))
    later = Validity(from_s=bench.now_s + 7200.0)
    assert change(bench, replace(REQUEST, valid=later)).request.valid == later
    assert change(bench, REQUEST).state is State.ESTABLISHING


def test_a_move_that_comes_to_nothing_brings_back_the_terms_it_had(bench: Bench) -> None:
    up(bench)
    change(bench, replace(REQUEST, protection=Protection.LINK))
    bench.confirm("switch 2 refused a rule")
    assert bench.stitch().request == REQUEST and "refused" in (bench.stitch().reason or "")


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


def test_what_is_left_behind_is_promised_until_nothing_is_on_it(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(broken=True)))

    def told() -> dict[tuple[int, int], list[tuple[float, bool]]]:
        asked = ReservationsRequest()
        bench.on_reservations(asked)
        return {
            (one.link[0], one.link[2]): [(held.mbps, held.leaving) for held in one.held]
            for one in asked.future.result(0)
            if one.held
        }

    way_round = {pair: [(4.0, False)] for pair in ((1, 3), (3, 1), (3, 2), (2, 3))}
    assert told() == {**way_round, (1, 2): [(4.0, True)], (2, 1): [(4.0, True)]}
    bench.confirm()
    bench.probe_tick()
    bench.all_probes_cross()
    assert told() == way_round
