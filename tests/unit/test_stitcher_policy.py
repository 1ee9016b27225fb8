"""A stitch that the policy forbids is refused or taken away, and is told the rule."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import NetworkChanged, PolicyChanged, VnetsChanged
from stitching.application import Application
from stitching.match import TCP
from stitching.plan import NotPossible
from stitching.policy.document import ANY, By, Demands, Policy, Rule, Selector
from stitching.stitch import State, VmRequest
from stitching.validity import Validity
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import REQUEST, A, B, Bench, MemoryStore, create, restarted, triangle, up, way

RED, BLUE = VNet("red", (Member(A, "a"),)), VNet("blue", (Member(B, "b"),))
NOTHING = Policy((Rule("quiet"),))


@pytest.fixture
def bench() -> Bench:
    made = Bench(MemoryStore())
    made.on_network(NetworkChanged(triangle()))
    made.connect()
    return made


def rule(bench: Bench, policy: Policy) -> None:
    bench.on_policy(PolicyChanged(policy, 0.0))


def test_what_the_policy_denies_is_refused_with_the_rule(bench: Bench) -> None:
    rule(bench, NOTHING)
    with pytest.raises(NotPossible, match="policy rule 'quiet' denies it") as caught:
        create(bench)
    assert caught.value.field == "destination"


def test_a_policy_that_comes_later_takes_the_stitch_away_with_the_rule(bench: Bench) -> None:
    up(bench)
    rule(bench, NOTHING)
    assert (bench.stitch().state, bench.stitch().reason) == (State.TERMINATING, "policy rule 'quiet' denies it")
    bench.confirm()
    assert (bench.stitch().state, bench.stitch().reason) == (State.TERMINATED, "policy rule 'quiet' denies it")


def test_two_virtual_networks_may_be_stitched_where_the_policy_lets_them_talk(bench: Bench) -> None:
    bench.on_vnets(VnetsChanged((RED, BLUE)))
    with pytest.raises(NotPossible, match="no policy rule lets them talk"):
        create(bench)
    there = Rule("there", (Selector(By.VNET, ("red",)),), (Selector(By.VNET, ("blue",)),), allow=True)
    rule(bench, Policy((there,)))
    up(bench)
    rule(bench, Policy())
    assert bench.stitch().state is State.TERMINATING


def test_a_stitch_of_one_application_asks_for_that_application_alone(bench: Bench) -> None:
    web = VmRequest(A, B, 1.0, application=Application(ip_proto=TCP, target_port=80))
    rule(bench, Policy((Rule("web", (ANY,), (ANY,), TCP, ((80, 80),), allow=True), *NOTHING.rules)))
    with pytest.raises(NotPossible, match="quiet"):
        create(bench, VmRequest(A, B, 1.0, application=Application(ip_proto=TCP, target_port=22)))
    create(bench, web)


def test_a_path_stays_within_the_zones_that_are_demanded(bench: Bench) -> None:
    within = Rule("home", allow=True, demands=Demands(zones=frozenset({"home"})))
    round_about = Policy((within,), zones=MappingProxyType({"home": frozenset({1, 3})}))
    rule(bench, round_about)
    with pytest.raises(NotPossible, match="on the links that the policy leaves to it"):
        create(bench)
    everywhere = Policy((within,), zones=MappingProxyType({"home": frozenset({1, 2, 3})}))
    rule(bench, everywhere)
    up(bench)
    assert way(bench) == [1, 2]
    rule(bench, round_about)
    assert bench.stitch().state is State.TERMINATING
    assert "policy rule 'home' demands another path: switch 0000000000000002 is outside" in str(
        bench.stitch().reason
    )


def test_a_path_takes_the_links_that_encrypt_where_that_is_demanded(bench: Bench) -> None:
    links = triangle().links
    over_3 = frozenset(key[:2] for key in links if 3 in (key[0], key[2]))
    rule(bench, Policy((Rule("secret", allow=True, demands=Demands(encrypted=True)),), encrypted=over_3))
    up(bench, REQUEST)
    assert way(bench) == [1, 3, 2]


def test_what_waits_for_its_hours_and_is_forbidden_meanwhile_is_rejected_with_the_rule(bench: Bench) -> None:
    create(bench, replace(REQUEST, valid=Validity(bench.now_s + 600.0)))
    assert bench.stitch().state is State.REQUESTED
    rule(bench, NOTHING)
    assert (bench.stitch().state, bench.stitch().reason) == (State.REJECTED, "policy rule 'quiet' denies it")
    rule(bench, Policy())
    bench.now_s += 601.0
    bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.REJECTED


def test_what_waits_for_room_and_is_forbidden_meanwhile_is_rejected_and_holds_nothing(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(replace(triangle(), links={})))
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    rule(bench, NOTHING)
    assert (bench.stitch().state, bench.stitch().reason) == (State.REJECTED, "policy rule 'quiet' denies it")
    rule(bench, Policy())
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.REJECTED
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_what_was_forbidden_while_the_controller_was_away_is_rejected_when_it_is_back() -> None:
    store = MemoryStore()
    before = Bench(store)
    before.on_network(NetworkChanged(triangle()))
    before.connect()
    create(before, replace(REQUEST, valid=Validity(before.now_s + 3600.0)))
    again = restarted(store)
    rule(again, NOTHING)
    assert again.stitch().state is State.REJECTED
    again._book.flush()
    assert store.kept[1].state is State.REJECTED
