"""Caps on any fabric: each packet of a capped pair meets one meter, where it enters, and goes where it went."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.bandwidth_plan import split
from stitching.kinds import labelled, place, rules
from stitching.pipeline import default_rules
from stitching.plan import NotPossible, Situation
from stitching.routes import default_routes
from stitching.rules import LEAST_METER, Meter
from stitching.stages import NOTHING, stages
from stitching.stitch import State, Stitch
from tests.model.fabric import Lab, labs
from tests.model.test_segments import outside_view
from tests.model.test_stitches import one_by_one
from tests.model_switch import ModelNetwork, Packet

CAP_MBPS = 8.0

on_any_fabric = settings(deadline=None, max_examples=60)

demands = st.sampled_from([0.0, 0.5, 2.0, 9.0, 40.0])


def made(lab: Lab, demand_mbps: dict[tuple[str, str], float], before: Stitch | None = None) -> Stitch:
    request = BandwidthRequest("red", "red", guarantee_mbps=1.0, cap_mbps=CAP_MBPS, bandwidth_mbps=1.0)
    situation = Situation(
        lab.network,
        lab.directory,
        lab.resources(),
        {},
        demand_mbps=demand_mbps,
        routes=lambda: default_routes(lab.network, lab.directory),
    )
    stitch = before or Stitch(1, request, State.ESTABLISHING, 0.0, 0.0)
    try:
        placed = place(request, situation, stitch.path)
    except NotPossible:
        assume(False)
        raise
    stitch = replace(stitch, epoch=stitch.epoch + 1)
    return replace(stitch, path=labelled(stitch, placed, (stitch,), settled=True))


def some_demands(lab: Lab, data: st.DataObject) -> dict[tuple[str, str], float]:
    return {(one.mac, other.mac): data.draw(demands) for one, other in lab.friends()}


@on_any_fabric
@given(labs(least_switches=2, least_hosts=4), st.data())
def test_a_capped_packet_meets_one_meter_at_the_first_switch_and_goes_its_way(
    lab: Lab, data: st.DataObject
) -> None:
    plain = ModelNetwork(lab.network, default_rules(lab.network, lab.directory))
    model = ModelNetwork(lab.network, default_rules(lab.network, lab.directory))
    model.apply_stages(stages(NOTHING, rules(made(lab, some_demands(lab, data)))))
    outside_view(model, lab)
    for switch in model.switches.values():
        switch.metered.clear()
    for source, target in lab.friends():
        packet = Packet(source.mac, target.mac)
        assert model.inject(*source.port, packet) == plain.inject(*source.port, packet)
        met = {dpid: switch.metered.copy() for dpid, switch in model.switches.items() if switch.metered}
        assert met == ({source.dpid: [LEAST_METER]} if lab.vnet(source) == "red" else {})
        for switch in model.switches.values():
            switch.metered.clear()


@on_any_fabric
@given(labs(least_switches=2, least_hosts=4), st.data())
def test_between_any_two_changes_the_meters_let_no_more_through_than_the_cap(
    lab: Lab, data: st.DataObject
) -> None:
    model = ModelNetwork(lab.network, default_rules(lab.network, lab.directory))
    stitch = made(lab, some_demands(lab, data))
    model.apply_stages(stages(NOTHING, rules(stitch)))
    after = made(lab, some_demands(lab, data), stitch)
    for change in one_by_one(stages(rules(stitch), rules(after)), data):
        assert isinstance(change.entry, Meter), "a rule that is right stays"
        model.apply([change])
        entries = (entry for switch in model.rules.values() for entry in switch.values())
        assert sum(entry.rate_kbps for entry in entries if isinstance(entry, Meter)) <= CAP_MBPS * 1000
        outside_view(model, lab)
    model.apply_stages(stages(rules(after), NOTHING))
    assert model.rules == ModelNetwork(lab.network, default_rules(lab.network, lab.directory)).rules


@given(
    st.floats(0.01, 1000.0),
    st.dictionaries(st.integers(1, 20), st.floats(0.0, 1e4), min_size=1),
)
def test_shares_add_up_to_the_cap_and_whoever_wants_less_than_its_part_has_it(
    cap: float, demand: dict[int, float]
) -> None:
    shares = {share.dpid: share.mbps for share in split(cap, demand)}
    assert shares.keys() == demand.keys()
    assert abs(sum(shares.values()) - cap) < 1e-6 * cap
    assert min(shares.values()) >= 0.0999 * cap / len(demand)
    for dpid, mbps in demand.items():
        assert shares[dpid] >= min(mbps, 0.9 * cap / len(demand)) * 0.999


@on_any_fabric
@given(labs(least_switches=2, least_hosts=4), st.data())
def test_the_guarantee_is_kept_on_exactly_the_links_that_are_crossed(lab: Lab, data: st.DataObject) -> None:
    placed = made(lab, some_demands(lab, data)).path
    assert isinstance(placed, BandwidthShares)
    model = ModelNetwork(lab.network, default_rules(lab.network, lab.directory))
    crossed = {
        key
        for source, target in lab.friends()
        if lab.vnet(source) == "red"
        for key in model.inject(*source.port, Packet(source.mac, target.mac)).crossed
    }
    assert set(placed.links) == crossed
