"""Stitches on any fabric: packets take exactly their path, and none is lost while they come and go."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.difference import Change, Stage, diff
from stitching.match import ETH_PROBE
from stitching.network import Host, LinkKey, PortId, reverse
from stitching.pipeline import default_rules, next_links
from stitching.plan import Situation, plan_path
from stitching.routes import default_routes
from stitching.rules import PORT_CONTROLLER, Table
from stitching.stages import establish_stages, remove_stages, stitch_rules
from stitching.stitch import State, Stitch, StitchRequest
from tests.model.fabric import CAPACITY_MBPS, Fabric, Lab, labs
from tests.model_switch import Fate, ModelNetwork, Packet

on_any_fabric = settings(deadline=None, max_examples=80)

# More than any packet can need that meets every change of a test on its way.
HOPS_OF_A_LIFE = 200


@dataclass(frozen=True)
class Case:
    """A fabric and stitches on it, each for hosts of its own; planned, not yet made."""

    lab: Lab
    stitches: tuple[Stitch, ...]

    @property
    def stitch(self) -> Stitch:
        return self.stitches[0]

    def model(self) -> ModelNetwork:
        return ModelNetwork(self.lab.network, default_rules(self.lab.network, self.lab.directory))


@st.composite
def cases(draw: st.DrawFn, *, stitches: int = 1) -> Case:
    lab = draw(labs(least_switches=2, least_hosts=2, least_cycles=2))
    pairs = [(a, b) for a, b in lab.friends() if a.port != b.port]
    assume(pairs)
    made: list[Stitch] = []
    for number in range(1, stitches + 1):
        both_ways = draw(st.booleans())
        taken = {pair for stitch in made for pair in stitch.request.directions}
        free = [(a, b) for a, b in pairs if not taken & directions(a, b, both_ways=both_ways)]
        assume(free)
        source, target = draw(st.sampled_from(free))
        made.append(draw(planned(lab, source, target, number, both_ways=both_ways)))
    return Case(lab, tuple(made))


@st.composite
def planned(draw: st.DrawFn, lab: Lab, source: Host, target: Host, number: int, *, both_ways: bool) -> Stitch:
    """A stitch as plan_path makes it where links carry random loads: often far from the shortest way."""
    load = {key: draw(st.sampled_from([0.0, 3.0, 9.0, 20.0])) for key in lab.network.links}
    shortest = default_routes(lab.network, lab.directory)[source.mac, target.mac]
    if len(shortest) > 0 and draw(st.booleans()):
        load[draw(st.sampled_from(shortest))] = 100.0
    request = StitchRequest(source.mac, target.mac, CAPACITY_MBPS / 10, both_ways=both_ways)
    path = plan_path(request, Situation(lab.network, lab.directory, lab.resources(), load))
    return Stitch(number, request, State.ESTABLISHING, 0.0, 0.0, epoch=number, path=path)


def directions(source: Host, target: Host, *, both_ways: bool) -> set[tuple[str, str]]:
    return set(StitchRequest(source.mac, target.mac, 1.0, both_ways=both_ways).directions)


def ways(stitch: Stitch) -> Iterator[tuple[str, str, PortId, PortId, tuple[LinkKey, ...]]]:
    """For each direction: the MACs, the port where packets go in, the one where they come out, the links."""
    assert stitch.path is not None
    back = tuple((key[2], key[3], key[0], key[1]) for key in reversed(stitch.path.links))
    both = ((stitch.path.hops, stitch.path.links), (stitch.path.reverse_hops, back))
    for (source, target), (hops, links) in zip(stitch.request.directions, both, strict=False):
        yield source, target, (hops[0].dpid, hops[0].in_port), (hops[-1].dpid, hops[-1].out_port), links


def one_by_one(stages: tuple[Stage, ...], data: st.DataObject) -> Iterator[Change]:
    """The changes one at a time, those of one stage in any order."""
    for stage in stages:
        yield from data.draw(st.permutations(stage))


def assert_all_arrive(model: ModelNetwork, lab: Lab) -> None:
    for source, target in lab.friends():
        if source.port != target.port:
            fate = model.inject(*source.port, Packet(source.mac, target.mac))
            assert (fate.delivered, fate.punted, fate.looped) == ((target.port,), (), False)


def assert_follows(model: ModelNetwork, stitch: Stitch) -> None:
    for source, target, enters, leaves, links in ways(stitch):
        fate = model.inject(*enters, Packet(source, target))
        assert (fate.crossed, fate.delivered, fate.punted) == (links, (leaves,), ())


def probe(model: ModelNetwork, source: str, target: str, dpid: int) -> Fate:
    return model.inject(dpid, PORT_CONTROLLER, Packet(source, target, ETH_PROBE))


@on_any_fabric
@given(cases())
def test_packets_of_a_stitch_take_exactly_its_path_and_arrive(case: Case) -> None:
    model = case.model()
    model.apply_stages(establish_stages(case.stitch))
    assert_follows(model, case.stitch)
    assert_all_arrive(model, case.lab)


@on_any_fabric
@given(cases())
def test_the_stages_put_in_the_rules_of_the_stitch_and_take_all_of_them_out_again(case: Case) -> None:
    model = case.model()
    before = model.rules
    model.apply_stages(establish_stages(case.stitch))
    rules = stitch_rules(case.stitch)
    assert model.rules == {dpid: before[dpid] | rules.get(dpid, {}) for dpid in before}
    model.apply_stages(remove_stages(case.stitch))
    assert model.rules == before


@on_any_fabric
@given(cases(), st.data())
def test_every_packet_arrives_between_any_two_changes_of_making_and_removing(
    case: Case, data: st.DataObject
) -> None:
    model = case.model()
    for stages in (establish_stages(case.stitch), remove_stages(case.stitch)):
        for change in one_by_one(stages, data):
            model.apply([change])
            assert_all_arrive(model, case.lab)


@on_any_fabric
@given(cases(), st.data())
def test_a_packet_on_its_way_arrives_once_where_no_two_stages_pass_while_it_crosses_one_link(
    case: Case, data: st.DataObject
) -> None:
    """The pace is needed: see test_a_packet_between_two_stages_can_be_lost_where_they_do_not_wait."""
    for source, target, enters, leaves, _ in ways(case.stitch):
        model = case.model()
        for stages in (establish_stages(case.stitch), remove_stages(case.stitch)):
            head_start = data.draw(st.integers(0, len(stages)))
            model.apply_stages(stages[:head_start])
            flight = model.launch(*enters, Packet(source, target), hop_limit=HOPS_OF_A_LIFE)
            rest = iter(stages[head_start:])
            while flight.advance():
                if data.draw(st.booleans()):
                    model.apply(next(rest, ()))
            model.apply_stages(rest)
            assert (flight.fate.delivered, flight.fate.looped) == ((leaves,), False)


@on_any_fabric
@given(cases(), st.data())
def test_a_packet_on_its_way_arrives_at_any_pace_where_no_link_is_crossed_against_the_shortest_way(
    case: Case, data: st.DataObject
) -> None:
    for source, target, enters, leaves, links in ways(case.stitch):
        shortest = next_links(case.lab.network, leaves[0])
        if any(shortest.get(key[2]) == reverse(key) for key in links):
            continue
        model = case.model()
        for stages in (establish_stages(case.stitch), remove_stages(case.stitch)):
            changes = list(one_by_one(stages, data))
            flight = model.launch(*enters, Packet(source, target), hop_limit=HOPS_OF_A_LIFE)
            while flight.advance():
                now = data.draw(st.integers(0, len(changes)))
                model.apply(changes[:now])
                changes = changes[now:]
            model.apply(changes)
            assert (flight.fate.delivered, flight.fate.looped) == ((leaves,), False)


@pytest.mark.parametrize("make", [establish_stages, remove_stages])
def test_a_packet_between_two_stages_can_be_lost_where_they_do_not_wait(
    make: Callable[[Stitch], tuple[Stage, ...]],
) -> None:
    """The least fabric where both ways of losing one show: stitch 1-3-2-4 over the shortest way 1-2-3-4.

    A packet crosses the wire between 2 and 3 under the old rules and is met by the new ones, which send it back.
    A switch does not send a packet out of the port it came in by: it is dropped. The cure is to wait for one link
    delay between stages, which only a stitch that crosses a link against the shortest way needs.
    """
    fabric = Fabric()
    for one, other, latency_ms in ((1, 2, 1.0), (2, 3, 1.0), (3, 4, 1.0), (1, 3, 9.0), (2, 4, 9.0)):
        fabric.join(one, other, latency_ms=latency_ms)
    source, target = fabric.host(1), fabric.host(4)
    lab = Lab(fabric.network, fabric.directory)
    crowded = {key: 1000.0 for key in lab.network.links if {key[0], key[2]} in ({1, 2}, {3, 4})}
    request = StitchRequest(source.mac, target.mac, 1.0, both_ways=False)
    path = plan_path(request, Situation(lab.network, lab.directory, lab.resources(), crowded))
    assert [hop.dpid for hop in path.hops] == [1, 3, 2, 4]
    case = Case(lab, (Stitch(1, request, State.ESTABLISHING, 0.0, 0.0, path=path),))
    model = case.model()
    if make is remove_stages:
        model.apply_stages(establish_stages(case.stitch))
    flight = model.launch(*source.port, Packet(source.mac, target.mac), hop_limit=HOPS_OF_A_LIFE)
    flight.advance()
    flight.advance()
    model.apply_stages(make(case.stitch))
    while flight.advance():
        pass
    assert (flight.fate.delivered, len(flight.fate.dropped)) == ((), 1)


@on_any_fabric
@given(cases())
def test_a_probe_comes_out_at_the_far_switch_and_never_at_a_host(case: Case) -> None:
    model = case.model()
    model.apply_stages(establish_stages(case.stitch))
    for source, target, (near, _), (far, _), links in ways(case.stitch):
        fate = probe(model, source, target, near)
        assert (fate.punted, fate.delivered, fate.crossed) == ((far,), (), links)


@on_any_fabric
@given(cases())
def test_no_probe_comes_through_while_a_rule_before_the_far_switch_is_missing(case: Case) -> None:
    for source, target, (near, _), (far, _), _ in ways(case.stitch):
        for dpid, rules in stitch_rules(case.stitch).items():
            for rule in rules.values():
                if dpid == far or (rule.match.eth_src, rule.match.eth_dst) != (source, target):
                    continue
                model = case.model()
                model.apply_stages(establish_stages(case.stitch))
                model.apply([Change(dpid, rule, remove=True)])
                fate = probe(model, source, target, near)
                assert (fate.punted, fate.delivered) == ((), ())


@on_any_fabric
@given(cases(stitches=2), st.data())
def test_two_stitches_do_not_disturb_each_other(case: Case, data: st.DataObject) -> None:
    model = case.model()
    before = model.rules
    first, second = case.stitches
    steps = [iter(establish_stages(stitch)) for stitch in case.stitches]
    while steps:
        turn = data.draw(st.sampled_from(steps))
        if (stage := next(turn, None)) is None:
            steps.remove(turn)
        else:
            model.apply(stage)
            assert_all_arrive(model, case.lab)
    assert_follows(model, first)
    assert_follows(model, second)
    for stage in remove_stages(first):
        model.apply(stage)
        assert_follows(model, second)
        assert_all_arrive(model, case.lab)
    model.apply_stages(remove_stages(second))
    assert model.rules == before


@on_any_fabric
@given(cases(), st.data())
def test_a_stitch_moves_to_another_path_without_losing_a_packet(case: Case, data: st.DataObject) -> None:
    """The rules of the new path go over those of the old one, far end first; what is left over goes last."""
    model = case.model()
    model.apply_stages(establish_stages(case.stitch))
    hosts = case.lab.network.hosts
    source, target = hosts[case.stitch.request.source_mac], hosts[case.stitch.request.target_mac]
    both_ways = case.stitch.request.both_ways
    moved = replace(data.draw(planned(case.lab, source, target, 1, both_ways=both_ways)), epoch=2)
    for change in one_by_one(establish_stages(moved), data):
        model.apply([change])
        assert_all_arrive(model, case.lab)
    assert_follows(model, moved)
    base = default_rules(case.lab.network, case.lab.directory)
    for dpid, rules in model.rules.items():
        wants = base[dpid] | stitch_rules(moved).get(dpid, {})
        for change in diff(rules, wants).changes(dpid):
            assert change.remove and change.entry.table == Table.STITCH
            model.apply([change])
            assert_all_arrive(model, case.lab)
    assert_follows(model, moved)
