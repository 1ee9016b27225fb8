"""A stitch that moves is on one whole path or the other, and nothing is left of the one that it left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pathing import Oversubscribed
from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, StagesApplied, WantRules
from ryu_apps.stitches.upkeep import HOLD_DOWN_S
from ryu_apps.stitches.watch import PROVE_WITHIN_S
from ryu_apps.store import StoreError
from stitching.kinds import rules as stitch_rules
from stitching.plan import NotPossible
from stitching.stitch import Protection, State
from tests.unit.stitcher_bench import (
    REQUEST,
    Bench,
    MemoryStore,
    bench,
    confirm,
    create,
    plan_round,
    store,
    triangle,
    up,
    way,
)

__all__ = ["bench", "store"]

PROTECTED = replace(REQUEST, protection=Protection.LINK)


def test_a_broken_path_is_left_and_another_one_taken(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    assert "is gone" in (bench.stitch().reason or "")
    assert way(bench) == [1, 3, 2]
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.reservation(1) is not None


def test_a_protected_stitch_holds_its_bandwidth_on_both_of_its_paths(bench: Bench) -> None:
    path = up(bench, PROTECTED).vm_path
    assert path is not None and path.backup is not None
    free = bench._planner.admission.resources.free
    assert {free(key) for key in triangle().links} == {6.0}


def test_protection_that_cannot_be_had_is_refused_with_the_reason(bench: Bench) -> None:
    bench.on_network(NetworkChanged(triangle(broken=True)))
    with pytest.raises(NotPossible, match="protection: no two paths"):
        create(bench, PROTECTED)


def test_a_protected_stitch_that_lost_a_link_stays_and_says_that_it_is_not_protected(bench: Bench) -> None:
    up(bench, PROTECTED)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 3, 2], "whether its switches know that the link is gone, nobody can tell"
    bench.confirm()
    bench.probes_cross()
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.DEGRADED, "probes cross, but it is not what was asked for"
    assert "not protected" in (bench.stitch().reason or "")
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.DEGRADED, "a link that may flap moves nobody"
    for _ in range(int(HOLD_DOWN_S)):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.ADJUSTING
    path = bench.stitch().vm_path
    assert path is not None and path.backup is not None


def test_a_stitch_moved_off_a_broken_path_goes_back_when_the_fabric_has_been_quiet(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    bench.confirm()
    bench.probes_cross()
    bench.on_network(NetworkChanged(triangle()))
    for _ in range(int(HOLD_DOWN_S) - 1):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
        assert way(bench) == [1, 3, 2]
    for _ in range(2):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 2]


def test_a_move_that_no_probe_proves_goes_back_to_the_path_before(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 2]
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 6.0
    assert bench._planner.admission.resources.free((1, 3, 3, 1)) == 10.0


def test_what_is_left_of_the_path_before_goes_when_packets_have_left_it(bench: Bench) -> None:
    before = up(bench)
    reroute(bench)
    bench.confirm()
    bench.probes_cross()
    held = bench.batch().rules
    assert set(stitch_rules(before)[2]) <= set(held[2]), "packets may still be on the path before"
    told = len(bench.told)
    bench.probe_tick(1.0)
    (tidy,) = (event for event in bench.told[told:] if isinstance(event, WantRules))
    assert tidy.rules == stitch_rules(bench.stitch())


def wanted(bench: Bench) -> object:
    """The rules that the stitch is to have, as the installer was told last."""
    told = (e for e in reversed(bench.told) if isinstance(e, (ApplyStages, WantRules)) and e.owner == "stitch:1")
    return next(told).rules


def test_nothing_is_left_of_a_path_that_no_probe_proved(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    bench.confirm()
    bench.probes_cross()
    assert (bench.stitch().state, way(bench)) == (State.UP, [1, 2])
    bench.probe_tick(1.0)
    assert wanted(bench) == stitch_rules(bench.stitch())


def test_one_whose_way_back_is_refused_too_leaves_no_rule_behind(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    bench.confirm("switch 1 refused a rule")
    assert all(change.remove for stage in bench.batch().stages for change in stage)
    assert bench.stitch().state is State.ADJUSTING, "its rules still send packets where no probe came through"
    bench.confirm()
    assert (bench.stitch().state, bench.stitch().reason) == (State.FAILED, "switch 1 refused a rule")
    assert not bench._life.changes.holds(1)


def test_nothing_is_left_of_a_path_that_was_left_just_before_a_move_was_refused(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probes_cross()
    direct = bench._planner.path(REQUEST, (bench.stitch(),))
    bench._mover.move(bench.stitch(), REQUEST, direct, None)
    bench.confirm("switch 2 refused a rule")
    assert (bench.stitch().state, way(bench)) == (State.UP, [1, 3, 2])
    bench.probe_tick(1.0)
    assert wanted(bench) == stitch_rules(bench.stitch())


def test_a_host_that_moved_takes_its_stitch_along(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(moved=True)))
    bench.confirm()
    bench.on_network(NetworkChanged(triangle(moved=True)))
    path = bench.stitch().vm_path
    assert path is not None and path.hops[-1].dpid == 3


def reroute(bench: Bench) -> None:
    bench._decider.reroute(bench._book[1], plan_round(bench), 5.0, (1, 2, 2, 1))


def test_a_rerouted_stitch_is_up_on_the_new_path_and_holds_bandwidth_there_only(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    assert bench.stitch().state is State.ADJUSTING
    free = bench._planner.admission.resources.free
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (6.0, 5.0), "both paths may carry for a while"
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (10.0, 5.0)
    assert bench.stitch().vm_request.relieves == (1, 2, 2, 1)
    assert bench.stitch().epoch == 2


def test_a_refused_reroute_leaves_the_stitch_where_it_was(bench: Bench) -> None:
    before = up(bench).path
    reroute(bench)
    bench.confirm("switch 0000000000000003 refused a rule in table 2: OFPFMFC_TABLE_FULL")
    assert bench.stitch().state is State.UP
    assert bench.stitch().vm_path == before
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 6.0
    assert bench._planner.admission.resources.free((1, 3, 3, 1)) == 10.0


def test_a_resized_stitch_keeps_its_rules(bench: Bench) -> None:
    up(bench)
    told = len(bench.told)
    bench._mover.resize(bench._book[1], 9.0)
    assert not any(isinstance(event, ApplyStages) for event in bench.told[told:])
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 1.0
    with pytest.raises(Oversubscribed):
        bench._mover.resize(bench._book[1], 11.0)
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 1.0


def test_a_reroute_that_cannot_be_stored_is_not_begun(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    store.full = True
    with pytest.raises(StoreError):
        reroute(bench)
    assert bench.stitch().state is State.UP and bench.stitch().epoch == 1
    free = bench._planner.admission.resources.free
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (6.0, 10.0)


def test_a_refused_reroute_does_not_go_back_to_a_path_that_broke(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    refused = bench.batch()
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    bench.on_applied(StagesApplied(refused.owner, refused.ticket, "OFPFMFC_TABLE_FULL", 0))
    confirm(bench, 1)
    assert bench.stitch().state is State.FAILED
