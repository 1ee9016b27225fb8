"""Which links each demand crosses, and what each link carries for it."""

import numpy as np
import pytest

from stitching.network import Link, Network
from stitching.routes import CARRYING, default_routes, link_loads, stitched_routes
from stitching.stitch import Hop, State, Stitch, StitchPath, VmRequest
from tests.model.fabric import Fabric

# Switch 1 reaches 2 at once or, slower, by 3.
FABRIC = Fabric()
SHORT = FABRIC.join(1, 2)
LONG = (FABRIC.join(1, 3, latency_ms=5.0), FABRIC.join(3, 2, latency_ms=5.0))
A, B, C = FABRIC.host(1), FABRIC.host(2), FABRIC.host(2)
RED = FABRIC.host(2, vnet="red")
BACK = (LONG[1][2:] + LONG[1][:2], LONG[0][2:] + LONG[0][:2])


def stitch(state: State, *, both_ways: bool) -> Stitch:
    hops = (
        Hop(1, A.port_no, LONG[0][1]),
        Hop(3, LONG[0][3], LONG[1][1]),
        Hop(2, LONG[1][3], B.port_no),
    )
    request = VmRequest(A.mac, B.mac, 1.0, both_ways=both_ways)
    return Stitch(1, request, state, 0.0, 0.0, path=StitchPath(hops, LONG, 10.0))


def test_the_default_route_is_the_shortest_and_only_for_hosts_that_may_talk() -> None:
    routes = default_routes(FABRIC.network, FABRIC.directory)
    assert routes[A.mac, B.mac] == (SHORT,)
    assert routes[B.mac, C.mac] == ()
    assert not any(RED.mac in pair for pair in routes)


def test_a_pair_that_no_links_join_has_no_route() -> None:
    fabric = Fabric()
    source, target = fabric.host(1), fabric.host(2)
    assert default_routes(fabric.network, fabric.directory) == {}
    fabric.join(1, 2, one_way=True)
    assert set(default_routes(fabric.network, fabric.directory)) == {(source.mac, target.mac)}


def test_routes_end_even_where_a_port_is_said_to_lead_to_two_switches() -> None:
    """While a port is moved to another switch both links are known for a moment."""
    network = FABRIC.network
    old = (*SHORT[:2], 3, 9)
    moved = Network(network.switches, {**network.links, old: Link(old, 10.0, 9.0)}, network.hosts)
    assert default_routes(moved, FABRIC.directory)[A.mac, B.mac] == (SHORT,)


@pytest.mark.parametrize("state", State)
def test_a_demand_is_on_its_stitch_only_while_that_carries_it(state: State) -> None:
    routes = default_routes(FABRIC.network, FABRIC.directory)
    expected = LONG if state in CARRYING else (SHORT,)
    assert stitched_routes(routes, [stitch(state, both_ways=False)])[A.mac, B.mac] == expected


def test_a_stitch_carries_the_way_back_only_where_it_goes_both_ways() -> None:
    routes = default_routes(FABRIC.network, FABRIC.directory)
    both = stitched_routes(routes, [stitch(State.UP, both_ways=True)])
    assert (both[A.mac, B.mac], both[B.mac, A.mac]) == (LONG, BACK)
    one = stitched_routes(routes, [stitch(State.UP, both_ways=False)])
    assert one[B.mac, A.mac] == routes[B.mac, A.mac] != BACK
    assert one[A.mac, C.mac] == routes[A.mac, C.mac]


def test_a_link_carries_the_sum_of_the_demands_that_cross_it() -> None:
    pairs = ((A.mac, B.mac), (A.mac, C.mac))
    routes = {pairs[0]: (SHORT,), pairs[1]: (SHORT, LONG[0])}
    loads = link_loads(np.array([[1.0, 2.0], [10.0, 20.0]]), pairs, (LONG[0], SHORT, LONG[1]), routes)
    np.testing.assert_array_equal(loads, [[10.0, 20.0], [11.0, 22.0], [0.0, 0.0]])


def test_a_demand_that_was_not_measured_makes_its_links_unknown_and_no_other() -> None:
    pairs = ((A.mac, B.mac), (A.mac, C.mac))
    routes = {pairs[0]: (SHORT,), pairs[1]: LONG}
    loads = link_loads(np.array([[np.nan, 2.0], [10.0, 20.0]]), pairs, (SHORT, *LONG), routes)
    np.testing.assert_array_equal(loads, [[np.nan, 2.0], [10.0, 20.0], [10.0, 20.0]])
