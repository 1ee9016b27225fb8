"""The overlay is after a restart what it was before: nobody is told anything, and no address is given twice."""

from __future__ import annotations

from ryu_apps.overlay.keeping import KeptOverlay, Writing, restored
from ryu_apps.store.codec import load
from stitching.overlay.replacing import Replacing
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.tunnels import Phase
from tests.unit.overlay_world import world
from tests.unit.test_overlay_rounds import Lab, pairs_meet


def test_after_a_restart_plans_are_the_same_and_nobody_is_told_anything() -> None:
    lab = Lab(world(3, 2, n_uplinks=2))
    lab.run(10.0)
    before = lab.overlay
    lab.overlay = restored(load(KeptOverlay, Writing().text(before)))
    assert lab.overlay.book == before.book
    made = lab.round()
    assert not made.changed
    assert made.overlay.plans == before.plans
    assert made.overlay.generation >= before.generation


def test_a_restart_in_the_middle_of_a_change_goes_on_with_it() -> None:
    lab = Lab(world(2, 1), OverlayPolicy(replacing=Replacing(key_age_s=60.0, drain_s=2.0)))
    while not any(one.phase is Phase.COMING and one.number > 1 for one in lab.overlay.book.tunnels()):
        lab.run(0.5)
    for _ in range(40):
        lab.overlay = restored(load(KeptOverlay, Writing().text(lab.overlay)))
        lab.run(0.5)
        slots = [one.slot for state in lab.overlay.book.lines.values() for one in state.tunnels]
        assert len(set(slots)) == len(slots)
        assert pairs_meet(lab)
    assert any(one.phase is Phase.ACTIVE and one.number > 1 for one in lab.overlay.book.tunnels())


def test_after_a_start_with_a_clock_two_hours_back_keys_are_replaced_when_they_are_old_enough() -> None:
    """What was stored is of the time to come then, and would hold up everything for two hours."""
    lab = Lab(world(2, 2), OverlayPolicy(replacing=Replacing(key_age_s=60.0, drain_s=2.0)))
    lab.now_s = 10_000.0
    lab.run(10.0)
    numbers = {one.number for one in lab.overlay.book.tunnels()}
    lab.now_s -= 7200
    lab.overlay = restored(load(KeptOverlay, Writing().text(lab.overlay)), lab.now_s)
    lab.run(90.0)
    assert numbers == {1} and {one.number for one in lab.overlay.book.tunnels()} != {1}
    assert pairs_meet(lab)


def test_what_is_written_anew_each_time_is_what_is_written_at_once() -> None:
    """Whatever of it is taken from the time before: while keys are replaced, and plans with them."""
    lab = Lab(world(3, 2), OverlayPolicy(replacing=Replacing(key_age_s=60.0, drain_s=2.0)))
    writing, seen = Writing(), set()
    for _ in range(60):
        lab.run(2.0)
        text = writing.text(lab.overlay)
        assert text == Writing().text(lab.overlay)
        assert restored(load(KeptOverlay, text)).in_force == lab.overlay.in_force
        seen.add(text)
    assert len(seen) > 5
