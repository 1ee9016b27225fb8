"""Protected segments on any fabric: whatever one thing dies, members that live reach each other, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.kinds import probe_ways, rules
from stitching.match import ETH_PROBE
from stitching.network import Host, LinkKey, reverse
from stitching.rules import PORT_CONTROLLER, Bypass
from stitching.segment import Member, can_follow
from stitching.stages import NOTHING, stages
from stitching.stitch import Protection, State, Stitch
from tests.model.fabric import Fabric, Lab
from tests.model.test_segments import (
    ALL,
    Case,
    assert_floods_arrive,
    assert_joined,
    audience,
    outside_view,
    placed,
    tree_of,
)
from tests.model.test_stitches import HOPS_OF_A_LIFE, one_by_one
from tests.model_switch import BROADCAST, ModelNetwork, Packet

on_any_ring = settings(deadline=None, max_examples=60)

SMALL = replace(ALL, bandwidth_mbps=0.01)
PROTECTIONS = st.sampled_from([Protection.LINK, Protection.NODE])


@st.composite
def rings(draw: st.DrawFn) -> Lab:
    """Rings with chords, wires beside each other and stubs without members; hosts of three networks."""
    fabric = Fabric()
    size = draw(st.integers(3, 6))
    latencies = st.sampled_from([0.0, 1.0, 1.0, 2.0, 5.5])
    for dpid in range(1, size + 1):
        fabric.join(dpid, dpid % size + 1, latency_ms=draw(latencies))
    ends = st.permutations(range(1, size + 1)).map(lambda order: order[:2])
    for one, other in draw(st.lists(ends, max_size=4)):
        fabric.join(one, other, latency_ms=draw(latencies))
    if draw(st.booleans()):
        fabric.join(1, size + 1)
    # One of each network at least, then others, some of them on the ports of these.
    for vnet in ("red", "blue", *draw(st.lists(st.sampled_from(["red", "blue", "green"]), max_size=5))):
        dpid = draw(st.integers(1, size))
        there = [host for host in fabric.network.hosts.values() if host.dpid == dpid]
        beside = there[0] if there and draw(st.integers(0, 4)) == 0 else None
        fabric.host(dpid, vnet=vnet, beside=beside)
    return Lab(fabric.network, fabric.directory)


@st.composite
def protected(draw: st.DrawFn) -> Case:
    """A segment on such a fabric with what was asked for; placed, not yet made."""
    lab = draw(rings())
    request = replace(SMALL, protection=draw(PROTECTIONS))
    case = Case(lab, draw(placed(lab, Stitch(1, request, State.ESTABLISHING, 0.0, 0.0), ())))
    assume(case.tree.links)
    return case


def made(case: Case) -> ModelNetwork:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    return model


def deaths(stitch: Stitch, lab: Lab) -> Iterator[LinkKey | int]:
    """Each link that may die and, where it is protected against that, each switch."""
    yield from (key for key in lab.network.links if key < reverse(key))
    if stitch.request.protection is Protection.NODE:
        yield from lab.network.dpids


def die(model: ModelNetwork, what: LinkKey | int) -> None:
    if isinstance(what, int):
        model.kill(what)
    else:
        model.cut(what)


def assert_survives(
    model: ModelNetwork, lab: Lab, stitch: Stitch, dead: LinkKey | int, joining: Member | None = None
) -> None:
    """Those who live hear each other once; nobody hears anything twice, or what is not for them."""
    tree = tree_of(stitch)
    die(model, dead)
    living = {member.mac for member in tree.members if member.dpid != dead}
    for one, other in tree.pairs():
        if {one.mac, other.mac} <= living:
            fate = model.inject(*one.port, Packet(one.mac, other.mac))
            assert (fate.delivered, fate.looped, fate.changed) == ((other.port,), False, False), (one, other, dead)
    for source in lab.hosts:
        if source.dpid != dead and (joining is None or source.mac != joining.mac):
            assert_heard_once(model, lab, stitch, source, dead, joining)
    model.mend()


def assert_heard_once(
    model: ModelNetwork, lab: Lab, stitch: Stitch, source: Host, dead: LinkKey | int, joining: Member | None
) -> None:
    tree = tree_of(stitch)
    fate = model.inject(*source.port, Packet(source.mac, BROADCAST))
    assert len(set(fate.delivered)) == len(fate.delivered) and not fate.looped and not fate.changed
    own = {host.port for host in lab.hosts if lab.vnet(host) == lab.vnet(source)}
    across = {
        receiver.port
        for senders, receivers, _ in tree.ways
        for receiver in receivers
        if any(sender.mac == source.mac for sender in senders) and not receiver.hears and receiver.dpid != dead
    }
    # Broadcast of its own network takes one tree without detours: what is across does not depend on that.
    may = audience(lab, tree, source) | ({joining.port} if joining else set())
    assert across - own <= set(fate.delivered) <= may


@on_any_ring
@given(protected())
def test_with_nothing_dead_it_is_a_segment_like_any_other(case: Case) -> None:
    model = made(case)
    outside_view(model, case.lab)
    assert_joined(model, case.lab, case.tree)
    assert case.tree.detours
    assert_floods_arrive(model, case.stitch)
    for way in probe_ways(case.stitch):
        fate = model.inject(way.enters, PORT_CONTROLLER, Packet(*way.pair, ETH_PROBE))
        assert (fate.punted, fate.delivered, fate.looped) == ((way.leaves,), (), False)


@on_any_ring
@given(protected(), st.data())
def test_probes_come_through_when_a_link_is_dead(case: Case, data: st.DataObject) -> None:
    model = made(case)
    die(model, data.draw(st.sampled_from([key for key in case.lab.network.links if key < reverse(key)])))
    assert_floods_arrive(model, case.stitch)
    for way in probe_ways(case.stitch):
        fate = model.inject(way.enters, PORT_CONTROLLER, Packet(*way.pair, ETH_PROBE))
        assert (fate.punted, fate.delivered, fate.looped) == ((way.leaves,), (), False)


@on_any_ring
@given(protected())
def test_any_one_link_or_switch_may_die_and_members_that_live_hear_each_other_once(case: Case) -> None:
    model = made(case)
    for dead in deaths(case.stitch, case.lab):
        assert_survives(model, case.lab, case.stitch, dead)
    assert_joined(model, case.lab, case.tree)


@on_any_ring
@given(protected(), st.data())
def test_whatever_dies_nothing_circles_or_comes_twice_or_to_a_stranger(case: Case, data: st.DataObject) -> None:
    model = made(case)
    everything = list(deaths(case.stitch, case.lab))
    dead = data.draw(st.lists(st.sampled_from(everything), min_size=2, max_size=4, unique=True))
    for what in dead:
        die(model, what)
    pairs = {(one.mac, other.mac) for one, other in case.tree.pairs()}
    for source, target in case.lab.strangers():
        fate = model.inject(*source.port, Packet(source.mac, target.mac))
        allowed = ((), (target.port,)) if (source.mac, target.mac) in pairs else ((),)
        assert fate.delivered in allowed and not fate.looped and not fate.changed
    for source in case.lab.hosts:
        fate = model.inject(*source.port, Packet(source.mac, BROADCAST))
        assert len(set(fate.delivered)) == len(fate.delivered) and not fate.looped and not fate.changed
        assert set(fate.delivered) <= audience(case.lab, case.tree, source)


@on_any_ring
@given(protected(), st.data())
def test_a_packet_on_its_way_arrives_when_something_dies_that_it_has_not_reached(
    case: Case, data: st.DataObject
) -> None:
    pairs = [pair for pair in case.tree.pairs() if pair[0].dpid != pair[1].dpid]
    assume(pairs)
    one, other = data.draw(st.sampled_from(pairs))
    dead = data.draw(st.sampled_from(list(deaths(case.stitch, case.lab))))
    assume(dead not in (one.dpid, other.dpid))
    for destination in (other.mac, BROADCAST):
        model = made(case)
        flight = model.launch(*one.port, Packet(one.mac, destination), hop_limit=HOPS_OF_A_LIFE)
        for _ in range(data.draw(st.integers(0, 8))):
            flight.advance()
        on_it = {dpid for dpid, *_ in flight._on_the_way} | {key[0] for key in flight.fate.crossed}
        die(model, dead)
        if isinstance(dead, int) and dead in on_it:
            continue  # what is in a switch dies with it
        while flight.advance():
            pass
        arrives = 0 if destination == BROADCAST and other.hears else 1
        assert arrives <= flight.fate.delivered.count(other.port) <= 1 and not flight.fate.looped


@settings(on_any_ring, max_examples=20)
@given(protected(), st.data())
def test_it_may_die_between_any_two_messages_of_a_change(case: Case, data: st.DataObject) -> None:
    """From one tree to another, with hosts where they are: who is on both is never cut off, whatever dies."""
    lab, stitch = case.lab, case.stitch
    model = made(case)
    request = replace(stitch.request, protection=data.draw(PROTECTIONS))
    after = data.draw(placed(lab, replace(stitch, request=request), (), settled=data.draw(st.booleans())))
    weaker = min((stitch, after), key=lambda one: one.request.protection is Protection.NODE)
    dead = data.draw(st.sampled_from(list(deaths(weaker, lab))))
    for change in one_by_one(stages(rules(stitch), rules(after)), data):
        model.apply([change])
        assert_survives(model, lab, replace(after, request=weaker.request), dead)


@settings(on_any_ring, max_examples=20)
@given(protected(), st.data())
def test_a_host_may_join_where_another_is_and_nobody_is_cut_off_whatever_dies(
    case: Case, data: st.DataObject
) -> None:
    lab, whole = case.lab, case.stitch
    there = Counter(member.dpid for member in case.tree.members)
    may_join = [m for m in case.tree.sources if there[m.dpid] > 1 and len(case.tree.sources) > 1]
    assume(may_join)
    joining = data.draw(st.sampled_from(may_join))
    fewer = replace(case.tree, sources=tuple(member for member in case.tree.sources if member != joining))
    before = replace(whole, path=fewer)
    assert can_follow(fewer, case.tree)
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(before)))
    dead = data.draw(st.sampled_from(list(deaths(whole, lab))))
    for change in one_by_one(stages(rules(before), rules(whole)), data):
        model.apply([change])
        assert_survives(model, lab, before, dead, joining)
    assert_survives(model, lab, whole, dead)


@on_any_ring
@given(protected())
def test_it_goes_without_a_trace(case: Case) -> None:
    model = case.model()
    before = model.rules
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    assert any(isinstance(entry, Bypass) for held in model.rules.values() for entry in held.values())
    model.apply_stages(stages(rules(case.stitch), NOTHING))
    assert model.rules == before
