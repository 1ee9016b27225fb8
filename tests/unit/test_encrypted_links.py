"""What has to be encrypted lies on links that are marked so, and leaves one that is so no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.discovering.links import LinkTable
from ryu_apps.events import NetworkChanged, PolicyChanged, VnetsChanged
from ryu_apps.store import StateStore
from stitching.network import Link, Network, PortId
from stitching.plan import NotPossible
from stitching.policy.reading import read_policy
from stitching.segment import SegmentRequest, Side
from stitching.stitch import BandwidthRequest, State, StitchPath
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import REQUEST, A, B, Bench, bench, create, store, triangle, way
from tests.unit.test_rest_fake import Caller, FakeController, api_of, caller_as, problem, red_and_blue

__all__ = ["bench", "store"]

SECRET = replace(REQUEST, encrypted=True)
UNKNOWN = (None, None)
DIRECT = frozenset({(1, 2), (2, 1)})
ROUND = frozenset({(1, 3), (3, 1), (3, 2), (2, 3)})


def marked(*ports: frozenset[PortId]) -> Network:
    """The triangle with these source ports marked: a port has the number of the switch it leads to."""
    return replace(triangle(), encrypted_ports=frozenset().union(*ports))


def mark(bench: Bench, *ports: frozenset[PortId]) -> None:
    bench.on_network(NetworkChanged(marked(*ports)))


def settle(bench: Bench) -> State:
    bench.confirm()
    bench.probe_tick()
    bench.all_probes_cross()
    return bench.stitch().state


def test_it_takes_the_way_round_where_only_that_is_encrypted(bench: Bench) -> None:
    mark(bench, ROUND)
    create(bench, SECRET)
    assert settle(bench) is State.UP and way(bench) == [1, 3, 2]


def test_without_encrypted_links_it_is_refused_with_what_helps(bench: Bench) -> None:
    with pytest.raises(NotPossible, match=r"encrypted: .*marked as encrypted.*PUT /v1/links/encryption"):
        create(bench, SECRET)
    mark(bench, frozenset({(1, 2)}))
    with pytest.raises(NotPossible, match="encrypted"):
        create(bench, SECRET)  # one way is not both


def test_a_mark_that_is_taken_away_moves_it_or_brings_it_down_until_there_is_one(bench: Bench) -> None:
    mark(bench, DIRECT, ROUND)
    create(bench, SECRET)
    assert settle(bench) is State.UP and way(bench) == [1, 2]
    mark(bench, ROUND)
    assert bench.stitch().state is State.ADJUSTING
    assert settle(bench) is State.UP and way(bench) == [1, 3, 2]
    mark(bench)
    assert "is not marked as encrypted" in (bench.stitch().reason or "")
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    assert bench._planner.admission.resources.free((1, 3, 3, 1)) == 10.0
    mark(bench, DIRECT)
    assert settle(bench) is State.UP and way(bench) == [1, 2]


def test_one_that_need_not_be_encrypted_does_not_care(bench: Bench) -> None:
    mark(bench, DIRECT)
    create(bench)
    assert settle(bench) is State.UP
    mark(bench)
    assert (bench.stitch().state, way(bench)) == (State.UP, [1, 2])


def test_it_can_be_asked_for_later_and_given_up(bench: Bench) -> None:
    mark(bench, ROUND)
    create(bench)
    assert settle(bench) is State.UP and way(bench) == [1, 2]
    bench._changer.change(1, SECRET)
    assert settle(bench) is State.UP and way(bench) == [1, 3, 2]
    assert bench._changer.change(1, REQUEST).state is State.UP and way(bench) == [1, 3, 2]


def test_a_policy_that_demands_it_goes_by_the_same_marks(bench: Bench) -> None:
    rule = {"name": "secret", "from": "any", "to": "any", "action": "allow", "encryption": "required"}
    bench.on_policy(PolicyChanged(read_policy({"rules": [rule]}), bench.now_s))
    with pytest.raises(NotPossible, match="policy"):
        create(bench)
    mark(bench, DIRECT, ROUND)
    create(bench)
    assert settle(bench) is State.UP and way(bench) == [1, 2]
    mark(bench, ROUND)
    assert settle(bench) is State.UP and way(bench) == [1, 3, 2]
    mark(bench)
    bench.confirm()
    assert bench.stitch().state is State.TERMINATED and "'secret'" in (bench.stitch().reason or "")


def test_a_segment_too_lies_on_encrypted_links(bench: Bench) -> None:
    bench.on_vnets(VnetsChanged((VNet("red", (Member(A, "a"),)), VNet("blue", (Member(B, "b"),)))))
    secret = SegmentRequest(Side("red"), Side("blue"), 2.0, encrypted=True)
    with pytest.raises(NotPossible, match="marked as encrypted"):
        bench._desk.create(secret)
    mark(bench, ROUND)
    bench._desk.create(secret)
    assert settle(bench) is State.UP
    path = bench.stitch().path
    assert path is not None and not isinstance(path, StitchPath) and len(path.links) == 2
    mark(bench)
    bench.confirm()
    assert bench.stitch().state is State.FAILED and "marked as encrypted" in (bench.stitch().reason or "")


def test_a_rate_cannot_keep_packets_on_encrypted_links(bench: Bench) -> None:
    with pytest.raises(NotPossible, match="leads no packet anywhere"):
        bench._desk.create(BandwidthRequest("default", "default", cap_mbps=1.0, encrypted=True))


def test_marks_are_kept() -> None:
    kept = StateStore("sqlite://")
    kept.save_encrypted({(1, 2): True, (2, 1): True, (1 << 63, 3): True})
    kept.save_encrypted({(2, 1): False, (9, 9): False})
    assert kept.encrypted_ports() == {(1, 2), (1 << 63, 3)}


def test_marks_are_set_over_rest_and_shown() -> None:
    call = Caller(api_of(FakeController(vnets=red_and_blue())))
    (link, *_) = call("GET", "/v1/topology").json()["links"]
    assert link["encrypted"] is False
    body = [{"dpid": link["src_dpid"], "port": link["src_port"], "encrypted": True}]
    assert call("PUT", "/v1/links/encryption", json=body).json() == {"ports": 1, "links": 1}
    assert call("GET", "/v1/topology").json()["links"][0]["encrypted"] is True
    problem(call("PUT", "/v1/links/encryption", json=body * 2), 422)
    problem(caller_as(call, "operator", "red")("PUT", "/v1/links/encryption", json=body), 403)
    records = call("GET", "/v1/audit?resource=/v1/links/encryption").json()
    newest = next(one for one in records if one["outcome"] == "done")
    assert ([one["encrypted"] for one in newest["before"]], newest["after"]) == ([False], body)


def test_a_link_through_tunnels_is_encrypted_between_just_its_ports_and_for_as_long_as_it_is_one() -> None:
    table = LinkTable(1.0, {})
    for key in ((1, 4, 2, 4), (2, 4, 1, 4), (1, 5, 3, 5)):
        table.restore(Link(key))
    one, lie, other = ((1, 4), (2, 4)), ((1, 5), (2, 4)), ((1, 5), (3, 5))
    assert table.set_tunnelled({one: UNKNOWN}) and not table.set_tunnelled({one: UNKNOWN})
    assert table.encrypted == {(1, 4), (2, 4)}
    # Whoever lies about his own end only says so of a link that is none.
    assert table.set_tunnelled({lie: UNKNOWN}) and table.encrypted == frozenset()
    table.set_tunnelled({one: UNKNOWN, other: UNKNOWN})
    table.set_encrypted({(1, 4): False, (3, 5): True})
    assert table.encrypted == {(1, 4), (2, 4), (1, 5), (3, 5)}, "it is not the operator's to take away"
    table.remove((1, 4, 2, 4))
    assert table.encrypted == {(2, 4), (1, 5), (3, 5)}
    table.set_tunnelled({})
    assert table.encrypted == {(3, 5)}


def test_a_link_through_tunnels_has_the_capacity_of_their_uplinks_unless_somebody_says_otherwise() -> None:
    table, there, back = LinkTable(1.0, {}), (1, 4, 2, 4), (2, 4, 1, 4)
    for key in (there, back):
        table.restore(Link(key, 7.0))
    pair = ((1, 4), (2, 4))

    def carries() -> list[float | None]:
        return [table.links[key].capacity_mbps for key in (there, back)]

    table.set_tunnelled({pair: UNKNOWN})
    for port in pair:
        # A VXLAN's port has no speed; what was known before a start holds until something else is.
        table.set_speed(port, None)
    assert carries() == [7.0, 7.0]
    assert table.set_tunnelled({pair: (50.0, 20.0)}) and carries() == [50.0, 20.0]
    assert not table.set_tunnelled({pair: (50.0, 20.0)})
    assert not table.set_tunnelled({pair: (None, 20.0)}) and carries() == [50.0, 20.0]
    assert table.set_tunnelled({((1, 4), (9, 9)): (5.0, 5.0)}) and carries() == [None, None], "another's link"
    table.set_capacity((1, 4), 3.0)
    table.set_tunnelled({pair: (50.0, 20.0)})
    assert carries() == [3.0, 20.0]
