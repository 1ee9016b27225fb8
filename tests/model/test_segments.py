"""Segments on any fabric: members of both sides reach each other, exactly once, and nobody else is reached."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.difference import Change
from stitching.kinds import broadcast_probes, labelled, place, probe_ways, routes, rules
from stitching.match import ETH_PROBE, MULTICAST, VLAN_PRESENT, Match
from stitching.network import Host, Network
from stitching.pipeline import default_rules
from stitching.plan import NotPossible, Situation
from stitching.rules import PORT_CONTROLLER, FlowRule
from stitching.segment import SegmentRequest, SegmentTree, Side
from stitching.segment_watch import Flood
from stitching.stages import NOTHING, stages
from stitching.stitch import State, Stitch
from tests.model.fabric import CAPACITY_MBPS, Lab, labs
from tests.model.test_stitches import HOPS_OF_A_LIFE, is_left_over, one_by_one
from tests.model_switch import BROADCAST, ModelNetwork, Packet

on_any_fabric = settings(deadline=None, max_examples=80)

ALL = SegmentRequest(Side("red"), Side("blue"), CAPACITY_MBPS / 10)


@dataclass(frozen=True)
class Case:
    """A fabric and a segment between two of its virtual networks; placed, not yet made."""

    lab: Lab
    stitch: Stitch

    @property
    def tree(self) -> SegmentTree:
        return tree_of(self.stitch)

    def model(self) -> ModelNetwork:
        return ModelNetwork(self.lab.network, default_rules(self.lab.network, self.lab.directory))


def tree_of(stitch: Stitch) -> SegmentTree:
    assert isinstance(stitch.path, SegmentTree)
    return stitch.path


@st.composite
def cases(draw: st.DrawFn) -> Case:
    lab = draw(labs(least_switches=2, least_hosts=4, least_cycles=2))
    request = ALL
    if draw(st.booleans()):
        # The other hosts of the network are outside.
        sides = []
        for side in ALL.sides:
            macs = sorted(host.mac for host in lab.hosts if lab.vnet(host) == side.vnet)
            assume(macs)
            sides.append(
                replace(side, hosts=tuple(draw(st.lists(st.sampled_from(macs), min_size=1, unique=True))))
            )
        request = replace(request, source=sides[0], target=sides[1])
    return Case(lab, draw(placed(lab, Stitch(1, request, State.ESTABLISHING, 0.0, 0.0), ())))


@st.composite
def placed(draw: st.DrawFn, lab: Lab, stitch: Stitch, others: tuple[Stitch, ...], settled: bool = True) -> Stitch:
    """The stitch where it is placed now, the links carrying random loads."""
    load = {key: draw(st.sampled_from([0.0, 3.0, 9.0, 20.0, 100.0])) for key in lab.network.links}
    try:
        tree = place(stitch.request, Situation(lab.network, lab.directory, lab.resources(), load), stitch.path)
    except NotPossible:
        assume(False)
        raise
    after = replace(stitch, epoch=stitch.epoch + 1)
    return replace(after, path=labelled(after, tree, (stitch, *others), settled=settled))


def outside_view(model: ModelNetwork, lab: Lab) -> None:
    """Within a network all is as ever; across, nobody who is not a member hears anything."""
    for source, target in lab.friends():
        if source.port != target.port:
            fate = model.inject(*source.port, Packet(source.mac, target.mac))
            assert (fate.delivered, fate.looped, fate.changed) == ((target.port,), False, False)


def assert_joined(model: ModelNetwork, lab: Lab, tree: SegmentTree) -> None:
    """Every packet between members arrives once; broadcast once more at each port of the other side's members."""
    pairs = {(one.mac, other.mac) for one, other in tree.pairs()}
    assert pairs
    for source, target in lab.strangers():
        fate = model.inject(*source.port, Packet(source.mac, target.mac))
        arrives = (target.port,) if (source.mac, target.mac) in pairs else ()
        assert (fate.delivered, fate.looped, fate.changed, fate.punted) == (arrives, False, False, ())
    for source in lab.hosts:
        fate = model.inject(*source.port, Packet(source.mac, BROADCAST))
        assert list(fate.delivered) == sorted(audience(lab, tree, source)), source
        assert not fate.looped and not fate.changed


def audience(lab: Lab, tree: SegmentTree, source: Host) -> set[tuple[int, int]]:
    own = {host.port for host in lab.hosts if lab.vnet(host) == lab.vnet(source)}
    others = {
        receiver.port for senders, receivers, _ in tree.ways for sender in senders for receiver in receivers
        if sender.mac == source.mac
    }  # fmt: skip
    return (own | others) - {source.port}


@on_any_fabric
@given(cases())
def test_members_reach_each_other_and_nobody_else_is_reached(case: Case) -> None:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    outside_view(model, case.lab)
    assert_joined(model, case.lab, case.tree)


@on_any_fabric
@given(cases())
def test_it_goes_without_a_trace(case: Case) -> None:
    model = case.model()
    before = model.rules
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    model.apply_stages(stages(rules(case.stitch), NOTHING))
    assert model.rules == before


@on_any_fabric
@given(cases())
def test_the_demand_of_each_pair_is_put_on_the_links_that_its_packets_cross(case: Case) -> None:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    ports = {host.mac: host.port for host in case.lab.hosts}
    for (source, target), links in routes(case.stitch):
        assert model.inject(*ports[source], Packet(source, target)).crossed == links
        assert {tuple(sorted((key[:2], key[2:]))) for key in links} <= {
            tuple(sorted((key[:2], key[2:]))) for key in case.tree.links
        }


def changed(draw: st.DrawFn, lab: Lab) -> Lab:
    """Hosts that go, come and move."""
    hosts = dict(lab.network.hosts)
    ports = sorted({host.port for host in hosts.values()})
    for mac in sorted(hosts):
        match draw(st.sampled_from(["stay", "stay", "stay", "go", "move"])):
            case "go":
                del hosts[mac]
            case "move":
                port = draw(st.sampled_from(ports))
                hosts[mac] = replace(hosts[mac], dpid=port[0], port_no=port[1])
    links = lab.network.links
    return Lab(Network(lab.network.switches, links, hosts), lab.directory)


@st.composite
def changes_of(draw: st.DrawFn, lab: Lab) -> Lab:
    return changed(draw, lab)


@on_any_fabric
@given(cases(), st.data())
def test_between_any_two_changes_those_who_stay_hear_everything_once_and_strangers_nothing(
    case: Case, data: st.DataObject
) -> None:
    """The order of changes within a stage is any; hosts come, go and move, links are busy at other places."""
    lab, stitch = case.lab, case.stitch
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(stitch)))
    for _ in range(2):
        after_lab = data.draw(changes_of(lab))
        after = data.draw(placed(after_lab, stitch, ()))
        model_rules = default_rules(after_lab.network, after_lab.directory)
        before_rules = default_rules(lab.network, lab.directory)
        for stage in stages(before_rules, model_rules):
            model.apply(stage)
        stay = [m for m in tree_of(stitch).members if m in tree_of(after).members]
        for change in one_by_one(stages(rules(stitch), rules(after)), data):
            model.apply([change])
            assert_meanwhile(model, lab, after_lab, (tree_of(stitch), tree_of(after)), {m.mac for m in stay})
        assert_joined(model, after_lab, tree_of(after))
        lab, stitch = after_lab, after


def assert_meanwhile(
    model: ModelNetwork, before: Lab, lab: Lab, trees: tuple[SegmentTree, ...], stay: set[str]
) -> None:
    ports = {host.mac: host.port for host in lab.hosts}
    seen = {*before.hosts, *lab.hosts}
    may_hear = {member.port for tree in trees for member in tree.members}
    for one, other in trees[1].pairs():
        if {one.mac, other.mac} <= stay:
            fate = model.inject(*one.port, Packet(one.mac, other.mac))
            assert (fate.delivered, fate.looped, fate.changed) == ((other.port,), False, False)
    for mac in stay:
        fate = model.inject(*ports[mac], Packet(mac, BROADCAST))
        own = {h.port for h in lab.hosts if lab.vnet(h) == lab.vnet(lab.network.hosts[mac])}
        must = {p for p in audience(lab, trees[1], lab.network.hosts[mac]) if p in own or _kept(trees, p, mac)}
        assert not fate.looped and not fate.changed
        # A port that a host of the other network has come to hears both for a moment.
        alone = [port for port in fate.delivered if len({lab.vnet(h) for h in seen if h.port == port}) < 2]
        assert len(set(alone)) == len(alone), "nothing comes twice"
        assert must <= set(fate.delivered) <= own | may_hear


def _kept(trees: tuple[SegmentTree, ...], port: tuple[int, int], mac: str) -> bool:
    """Whether the port has members of the other side in both trees, of which none hears it otherwise."""
    return all(
        any(m.port == port and not m.hears for senders, receivers, _ in tree.ways for m in receivers
            if any(s.mac == mac for s in senders))
        for tree in trees
    )  # fmt: skip


@on_any_fabric
@given(cases(), st.data())
def test_a_packet_on_its_way_arrives_at_any_pace_of_changes(case: Case, data: st.DataObject) -> None:
    moved = data.draw(placed(case.lab, case.stitch, ()))
    pairs = [pair for pair in case.tree.pairs() if pair[0].dpid != pair[1].dpid]
    assume(pairs)
    one, other = data.draw(st.sampled_from(pairs))
    for destination in (other.mac, BROADCAST):
        model = case.model()
        model.apply_stages(stages(NOTHING, rules(case.stitch)))
        some = stages(rules(case.stitch), rules(moved))
        left_over = [change for stage in some for change in stage if is_left_over(change)]
        rest = [change for change in one_by_one(some, data) if change not in left_over]
        flight = model.launch(*one.port, Packet(one.mac, destination), hop_limit=HOPS_OF_A_LIFE)
        while flight.advance():
            now = data.draw(st.integers(0, len(rest)))
            model.apply(rest[:now])
            rest = rest[now:]
        assert flight.fate.delivered.count(other.port) == 1 and not flight.fate.looped


@on_any_fabric
@given(cases())
def test_each_probe_comes_out_at_the_far_switch_and_every_switch_with_members_is_proven(case: Case) -> None:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    ways = probe_ways(case.stitch)
    for way in ways:
        fate = model.inject(way.enters, PORT_CONTROLLER, Packet(*way.pair, ETH_PROBE))
        assert (fate.punted, fate.delivered, fate.looped) == ((way.leaves,), (), False)
    ends = [{way.enters for way in ways}, {way.leaves for way in ways}]
    assert ends == [{member.dpid for member in case.tree.members}] * 2


@on_any_fabric
@given(cases())
def test_broadcast_probes_come_out_at_every_other_switch_with_receivers_and_at_no_host(case: Case) -> None:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    assert_floods_arrive(model, case.stitch)
    there = {(sender.dpid, receiver.dpid) for sender, receiver in case.tree.pairs()}
    proven = {(flood.enters, end) for flood in broadcast_probes(case.stitch) for end in flood.leaves}
    assert proven == {(one, other) for one, other in there if one != other}


def assert_floods_arrive(model: ModelNetwork, stitch: Stitch) -> None:
    for flood in broadcast_probes(stitch):
        fate = model.inject(flood.enters, PORT_CONTROLLER, probe_of(flood))
        assert (fate.punted, fate.delivered, fate.looped) == (tuple(sorted(flood.leaves)), (), False)


def probe_of(flood: Flood) -> Packet:
    return Packet(*flood.pair, ETH_PROBE, labels=(flood.label | VLAN_PRESENT,))


@on_any_fabric
@given(cases(), st.data())
def test_no_broadcast_probe_is_whole_while_a_rule_that_passes_broadcast_on_is_missing(
    case: Case, data: st.DataObject
) -> None:
    assume(broadcast_probes(case.stitch))
    flood = data.draw(st.sampled_from(broadcast_probes(case.stitch)))
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    crossed = model.inject(flood.enters, PORT_CONTROLLER, probe_of(flood)).crossed
    passing = [key[0] for key in crossed if key[0] != flood.enters]
    assume(passing)
    dpid = data.draw(st.sampled_from(passing))
    own = Match(eth_dst=MULTICAST, eth_dst_mask=MULTICAST, vlan_vid=flood.label | VLAN_PRESENT)
    (rule,) = (
        e for e in rules(case.stitch)[dpid].values() if isinstance(e, FlowRule) and e.match == own and e.table == 3
    )
    model.apply([Change(dpid, rule, remove=True)])
    fate = model.inject(flood.enters, PORT_CONTROLLER, probe_of(flood))
    assert set(fate.punted) < flood.leaves and fate.delivered == ()


@on_any_fabric
@given(cases(), st.data())
def test_no_probe_comes_through_while_a_rule_that_it_needs_is_missing(case: Case, data: st.DataObject) -> None:
    way = data.draw(st.sampled_from(probe_ways(case.stitch)))
    for dpid, rule in _met(case, way.pair):
        model = case.model()
        model.apply_stages(stages(NOTHING, {**rules(case.stitch), dpid: rule}))
        fate = model.inject(way.enters, PORT_CONTROLLER, Packet(*way.pair, ETH_PROBE))
        assert (way.leaves in fate.punted, fate.delivered) == (False, ())


def _met(case: Case, pair: tuple[str, str]) -> Iterator[tuple[int, dict]]:  # type: ignore[type-arg]
    """Each switch on the way of a pair without the rules that are for it."""
    crossed = dict(routes(case.stitch))[pair]
    for key in crossed:
        kept = {
            name: entry
            for name, entry in rules(case.stitch)[key[0]].items()
            if getattr(entry, "table", 0) == 1 or entry.match.eth_dst != pair[1]  # type: ignore[union-attr]
        }
        yield key[0], kept


@on_any_fabric
@given(cases(), st.integers(2048, 4094))
def test_a_host_cannot_forge_a_label(case: Case, vid: int) -> None:
    model = case.model()
    model.apply_stages(stages(NOTHING, rules(case.stitch)))
    for one, other in case.tree.pairs():
        for destination in (other.mac, BROADCAST):
            fate = model.inject(*one.port, Packet(one.mac, destination, labels=(0x1000 | vid,)))
            assert (fate.delivered, fate.punted, fate.crossed) == ((), (), ())
