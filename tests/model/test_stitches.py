"""Stitches on any fabric: packets take exactly their path, and none is lost or led astray when one changes."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.application import Application
from stitching.difference import Change, Stage
from stitching.kinds import rules as stitch_rules
from stitching.match import ETH_PROBE, TCP, VLAN_PRESENT
from stitching.network import Host, LinkKey, PortId
from stitching.pipeline import LEAST_LABEL, default_rules
from stitching.plan import NotPossible, Situation, plan_path
from stitching.routes import default_routes
from stitching.rules import PORT_CONTROLLER, Failover, FlowRule
from stitching.stages import NOTHING, is_entrance, stages
from stitching.stitch import Protection, State, Stitch, StitchPath, VmRequest
from tests.model.fabric import CAPACITY_MBPS, Lab, labs
from tests.model_switch import Fate, ModelNetwork, Packet

on_any_fabric = settings(deadline=None, max_examples=80)

# More than any packet can need that meets every change of a test on its way.
HOPS_OF_A_LIFE = 200

WEB = Application(ip_proto=TCP, target_port=80)


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
def cases(draw: st.DrawFn, *, stitches: int = 1, protection: Protection | None = None) -> Case:
    lab = draw(labs(least_switches=2, least_hosts=2, least_cycles=2))
    pairs = [(a, b) for a, b in lab.friends() if a.port != b.port]
    assume(pairs)
    made: list[Stitch] = []
    for number in range(1, stitches + 1):
        both_ways = draw(st.booleans())
        taken = {pair for stitch in made for pair in stitch.vm_request.directions}
        free = [(a, b) for a, b in pairs if not taken & directions(a, b, both_ways=both_ways)]
        assume(free)
        source, target = draw(st.sampled_from(free))
        request = VmRequest(
            source.mac,
            target.mac,
            CAPACITY_MBPS / 10,
            both_ways=both_ways,
            application=draw(st.sampled_from([None, None, WEB])),
            protection=protection or draw(st.sampled_from(Protection)),
        )
        made.append(draw(planned(lab, request, number)))
    return Case(lab, tuple(made))


@st.composite
def planned(draw: st.DrawFn, lab: Lab, request: VmRequest, number: int, epoch: int = 0) -> Stitch:
    """A stitch as plan_path makes it where links carry random loads: often far from the shortest way."""
    load = {key: draw(st.sampled_from([0.0, 3.0, 9.0, 20.0])) for key in lab.network.links}
    shortest = default_routes(lab.network, lab.directory)[request.source_mac, request.target_mac]
    if len(shortest) > 0 and draw(st.booleans()):
        load[draw(st.sampled_from(shortest))] = 100.0
    try:
        path = plan_path(request, Situation(lab.network, lab.directory, lab.resources(), load))
    except NotPossible:
        # Not every fabric has two ways.
        assume(request.protection is Protection.NONE)
        raise
    path = replace(path, label=LEAST_LABEL + epoch)
    return Stitch(number, request, State.ESTABLISHING, 0.0, 0.0, epoch=epoch, path=path)


def directions(source: Host, target: Host, *, both_ways: bool) -> set[tuple[str, str]]:
    return set(VmRequest(source.mac, target.mac, 1.0, both_ways=both_ways).directions)


@dataclass(frozen=True)
class Way:
    """One direction of a stitch: a packet of it, where it goes in and comes out, and the path."""

    packet: Packet
    enters: PortId
    leaves: PortId
    path: StitchPath

    @property
    def links(self) -> tuple[LinkKey, ...]:
        return self.path.links


def ways(stitch: Stitch) -> Iterator[Way]:
    path = stitch.vm_path
    assert path is not None
    application = stitch.vm_request.application
    ports = (
        [(None, application.target_port), (application.target_port, None)] if application else [(None, None)] * 2
    )
    both = zip(stitch.vm_request.directions, (path, path.reversed), ports, strict=False)
    for (source, target), path, (src_port, dst_port) in both:
        packet = Packet(source, target, ip_proto=TCP, src_port=src_port or 40000, dst_port=dst_port or 40000)
        first, last = path.hops[0], path.hops[-1]
        yield Way(packet, (first.dpid, first.in_port), (last.dpid, last.out_port), path)


def establishing(stitch: Stitch) -> tuple[Stage, ...]:
    return stages(NOTHING, stitch_rules(stitch))


def removing(stitch: Stitch) -> tuple[Stage, ...]:
    return stages(stitch_rules(stitch), NOTHING)


def moving(before: Stitch, after: Stitch) -> tuple[Stage, ...]:
    return stages(stitch_rules(before), stitch_rules(after))


def one_by_one(some: tuple[Stage, ...], data: st.DataObject) -> Iterator[Change]:
    """The changes one at a time: a switch takes those of a stage in their order, but who is first nobody knows."""
    for stage in some:
        waiting: dict[int, deque[Change]] = defaultdict(deque)
        for change in stage:
            waiting[change.dpid].append(change)
        while waiting:
            dpid = data.draw(st.sampled_from(sorted(waiting)))
            yield waiting[dpid].popleft()
            if not waiting[dpid]:
                del waiting[dpid]


def assert_all_arrive(model: ModelNetwork, lab: Lab) -> None:
    for source, target in lab.friends():
        if source.port != target.port:
            fate = model.inject(*source.port, Packet(source.mac, target.mac))
            assert_arrives(fate, target.port)


def assert_arrives(fate: Fate, port: PortId) -> None:
    assert (fate.delivered, fate.punted, fate.looped, fate.changed) == ((port,), (), False, False)


def assert_follows(model: ModelNetwork, stitch: Stitch) -> None:
    for way in ways(stitch):
        fate = model.inject(*way.enters, way.packet)
        assert fate.crossed == way.links
        assert_arrives(fate, way.leaves)


def probe(model: ModelNetwork, stitch: Stitch, way: Way) -> Fate:
    label = (VLAN_PRESENT | way.path.label,) if stitch.vm_request.application else ()
    packet = Packet(way.packet.eth_src, way.packet.eth_dst, ETH_PROBE, labels=label)
    return model.inject(way.enters[0], PORT_CONTROLLER, packet)


@on_any_fabric
@given(cases())
def test_packets_of_a_stitch_take_exactly_its_path_and_arrive(case: Case) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    assert_follows(model, case.stitch)
    assert_all_arrive(model, case.lab)


@on_any_fabric
@given(cases())
def test_the_stages_put_in_all_of_a_stitch_and_take_all_of_it_out_again(case: Case) -> None:
    model = case.model()
    before = model.rules
    model.apply_stages(establishing(case.stitch))
    rules = stitch_rules(case.stitch)
    assert model.rules == {dpid: before[dpid] | dict(rules.get(dpid, {})) for dpid in before}
    model.apply_stages(removing(case.stitch))
    assert model.rules == before


@on_any_fabric
@given(cases())
def test_only_the_application_of_a_stitch_is_carried_by_it(case: Case) -> None:
    assume(case.stitch.vm_request.application is not None)
    model = case.model()
    others = [replace(way.packet, src_port=22, dst_port=22) for way in ways(case.stitch)]
    before = [model.inject(*way.enters, packet) for way, packet in zip(ways(case.stitch), others, strict=True)]
    model.apply_stages(establishing(case.stitch))
    after = [model.inject(*way.enters, packet) for way, packet in zip(ways(case.stitch), others, strict=True)]
    assert before == after


@on_any_fabric
@given(cases(), st.data())
def test_every_packet_arrives_between_any_two_changes_of_making_moving_and_removing(
    case: Case, data: st.DataObject
) -> None:
    model = case.model()
    moved = data.draw(planned(case.lab, case.stitch.vm_request, 1, epoch=1))
    for change in one_by_one(establishing(case.stitch) + moving(case.stitch, moved) + removing(moved), data):
        model.apply([change])
        assert_all_arrive(model, case.lab)
        for way in ways(case.stitch):
            assert_arrives(model.inject(*way.enters, way.packet), way.leaves)


@on_any_fabric
@given(cases(), st.data())
def test_a_packet_on_its_way_follows_the_path_before_or_the_one_after_and_never_parts_of_both(
    case: Case, data: st.DataObject
) -> None:
    """At any pace, but that what no packet can reach any more is removed when those on their way have arrived."""
    moved = data.draw(planned(case.lab, case.stitch.vm_request, 1, epoch=1))
    for before, after in zip(ways(case.stitch), ways(moved), strict=True):
        model = case.model()
        default = model.inject(*before.enters, before.packet).crossed
        for some, allowed in (
            (establishing(case.stitch), (default, before.links)),
            (moving(case.stitch, moved), (before.links, after.links)),
            (removing(moved), (after.links, default)),
        ):
            left_over = [change for stage in some for change in stage if is_left_over(change)]
            rest = [change for change in one_by_one(some, data) if change not in left_over]
            head_start = data.draw(st.integers(0, len(rest)))
            model.apply(rest[:head_start])
            rest = rest[head_start:]
            flight = model.launch(*before.enters, before.packet, hop_limit=HOPS_OF_A_LIFE)
            while flight.advance():
                now = data.draw(st.integers(0, len(rest)))
                model.apply(rest[:now])
                rest = rest[now:]
            model.apply([*rest, *left_over])
            assert_arrives(flight.fate, before.leaves)
            assert flight.fate.crossed in allowed


def is_left_over(change: Change) -> bool:
    return change.remove and not is_entrance(change.entry)


@on_any_fabric
@given(cases(protection=Protection.LINK))
def test_any_one_link_of_a_protected_path_may_die_and_every_packet_arrives(case: Case) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    for way in ways(case.stitch):
        for link in way.path.all_links:
            model.cut(link)
            assert_arrives(model.inject(*way.enters, way.packet), way.leaves)
            model.mend()


@on_any_fabric
@given(cases(protection=Protection.NODE))
def test_any_one_switch_in_between_may_die_and_every_packet_arrives(case: Case) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    for way in ways(case.stitch):
        transit = way.path.dpids - {way.enters[0], way.leaves[0]}
        for dpid in sorted(transit):
            model.kill(dpid)
            assert_arrives(model.inject(*way.enters, way.packet), way.leaves)
            model.mend()


@on_any_fabric
@given(cases(protection=Protection.NODE), st.data())
def test_a_move_may_be_under_way_when_something_dies_that_neither_path_needs_alone(
    case: Case, data: st.DataObject
) -> None:
    """Before, between and after any two changes of a move from one protected path to another."""
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    moved = data.draw(planned(case.lab, case.stitch.vm_request, 1, epoch=1))
    for change in one_by_one(moving(case.stitch, moved), data):
        model.apply([change])
        for way in ways(case.stitch):
            link = data.draw(st.sampled_from([None, *case.lab.network.links]))
            if link is not None:
                model.cut(link)
            assert_arrives(model.inject(*way.enters, way.packet), way.leaves)
            model.mend()


@on_any_fabric
@given(cases())
def test_a_probe_comes_out_at_the_far_switch_and_never_at_a_host(case: Case) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    for way in ways(case.stitch):
        fate = probe(model, case.stitch, way)
        assert (fate.punted, fate.delivered, fate.crossed) == ((way.leaves[0],), (), way.links)


@on_any_fabric
@given(cases(protection=Protection.NONE))
def test_no_probe_comes_through_while_a_rule_before_the_far_switch_is_missing(case: Case) -> None:
    for way in ways(case.stitch):
        for dpid, entries in stitch_rules(case.stitch).items():
            for entry in entries.values():
                assert isinstance(entry, FlowRule)
                ours = (entry.match.eth_src, entry.match.eth_dst) == (way.packet.eth_src, way.packet.eth_dst)
                # An application is told by more than a probe has: its probes come with their label.
                if dpid == way.leaves[0] or not ours or entry.match.l3 is not None:
                    continue
                model = case.model()
                model.apply_stages(establishing(case.stitch))
                model.apply([Change(dpid, entry, remove=True)])
                fate = probe(model, case.stitch, way)
                assert (fate.punted, fate.delivered) == ((), ())


@on_any_fabric
@given(cases(stitches=2), st.data())
def test_two_stitches_do_not_disturb_each_other(case: Case, data: st.DataObject) -> None:
    model = case.model()
    first, second = case.stitches
    steps = [iter(establishing(stitch)) for stitch in case.stitches]
    while steps:
        turn = data.draw(st.sampled_from(steps))
        if (stage := next(turn, None)) is None:
            steps.remove(turn)
        else:
            model.apply(stage)
            assert_all_arrive(model, case.lab)
    assert_follows(model, first)
    assert_follows(model, second)
    # A group may be needed by both: the installer keeps what another owner wants.
    for stage in removing(first):
        model.apply(change for change in stage if not isinstance(change.entry, Failover))
        assert_follows(model, second)
        assert_all_arrive(model, case.lab)


@on_any_fabric
@given(cases(), st.integers(LEAST_LABEL, 4094))
def test_a_host_cannot_forge_a_label(case: Case, vid: int) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    for way in ways(case.stitch):
        fate = model.inject(*way.enters, replace(way.packet, labels=(VLAN_PRESENT | vid,)))
        assert (fate.delivered, fate.punted, fate.crossed) == ((), (), ())


@on_any_fabric
@given(cases(), st.integers(1, LEAST_LABEL - 1))
def test_a_host_may_use_the_other_vlan_ids(case: Case, vid: int) -> None:
    model = case.model()
    model.apply_stages(establishing(case.stitch))
    for way in ways(case.stitch):
        packet = Packet(way.packet.eth_src, way.packet.eth_dst, labels=(VLAN_PRESENT | vid,))
        assert_arrives(model.inject(*way.enters, packet), way.leaves)


@on_any_fabric
@given(cases(protection=Protection.NONE))
def test_a_stitch_on_one_switch_takes_no_probe_with_a_label_for_its_own(case: Case) -> None:
    """An application between the same hosts has its own, which comes with its label."""
    first = next(ways(case.stitch))
    hop = replace(first.path.hops[0], out_port=first.path.hops[0].in_port + 1)
    path = replace(first.path, hops=(hop,), links=())
    here = replace(case.stitch, request=replace(case.stitch.vm_request, application=None), path=path)
    model = case.model()
    model.apply_stages(establishing(here))
    ends = Packet(*here.vm_request.directions[0], eth_type=ETH_PROBE)
    assert model.inject(hop.dpid, PORT_CONTROLLER, ends).punted == (hop.dpid,)
    labelled = replace(ends, labels=(VLAN_PRESENT | LEAST_LABEL,))
    assert model.inject(hop.dpid, PORT_CONTROLLER, labelled).punted == ()
