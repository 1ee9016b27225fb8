"""A plan keeps every promise it makes, and where it refuses it names what would have worked."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pathing import CostWeights, Fault, LabelBudget, NoPath, Path, Resources, link_cost, shortest_path
from stitching.admission import Without
from stitching.kinds import links_to_reserve
from stitching.network import Host, LinkKey, Network, reverse
from stitching.path_memory import PathMemory
from stitching.plan import NotPossible, Situation, plan_path
from stitching.stitch import Hop, StitchPath, VmRequest
from tests.model.fabric import CAPACITY_MBPS, Fabric, Lab, labs

on_any_fabric = settings(deadline=None, max_examples=80)


def ask(source: Host, target: Host, mbps: float = 1.0, **more: float | bool | None) -> VmRequest:
    return replace(VmRequest(source.mac, target.mac, mbps, both_ways=False), **more)  # type: ignore[arg-type]


def situation(
    fabric: Fabric, *, promised: Mapping[LinkKey, float] | None = None, load: Mapping[LinkKey, float] | None = None
) -> Situation:
    lab = Lab(fabric.network, fabric.directory)
    return Situation(lab.network, lab.directory, booked(lab, promised or {}), load or {})


def booked(lab: Lab, promised: Mapping[LinkKey, float]) -> Resources[LinkKey]:
    resources = lab.resources()
    for key, mbps in promised.items():
        if mbps > 0:
            resources.reserve(key, (key,), mbps)
    return resources


def outcome(request: VmRequest, at: Situation) -> StitchPath | NotPossible:
    try:
        return plan_path(request, at)
    except NotPossible as error:
        return error


def refusal(request: VmRequest, at: Situation) -> NotPossible:
    with pytest.raises(NotPossible) as caught:
        plan_path(request, at)
    return caught.value


def offered(error: NotPossible) -> float | None:
    """The number that a refusal says would work."""
    found = re.search(r"(?:ask for|allow) ([\d.]+) ", error.remedy)
    return float(found[1]) if found else None


def simple_paths(network: Network, source: int, target: int) -> Iterator[tuple[LinkKey, ...]]:
    """Every path that visits no switch twice."""

    def onward(at: int, links: tuple[LinkKey, ...], seen: frozenset[int]) -> Iterator[tuple[LinkKey, ...]]:
        if at == target:
            yield links
            return
        for key in network.links:
            if key[0] == at and key[2] not in seen:
                yield from onward(key[2], (*links, key), seen | {key[2]})

    return onward(source, (), frozenset({source}))


def latency_ms(network: Network, path: tuple[LinkKey, ...]) -> float | None:
    """The sum along a path, None where a part of it is unknown."""
    parts = [network.links[key].latency_ms for key in path]
    return None if None in parts else sum(part for part in parts if part is not None)


def slower_ms(network: Network, path: tuple[LinkKey, ...]) -> float | None:
    """The sum along a path where each link counts as its slower direction, None where one is unknown."""
    both = [(network.links[key].latency_ms, network.links[reverse(key)].latency_ms) for key in path]
    return None if any(None in ways for ways in both) else sum(max(ms or 0.0 for ms in ways) for ways in both)


@st.composite
def asked(draw: st.DrawFn) -> tuple[Situation, VmRequest]:
    """A fabric with promises and loads on it, a request between two switches."""
    lab = draw(labs(least_switches=2, least_hosts=2))
    pairs = [(a, b) for a, b in lab.friends() if a.dpid != b.dpid]
    assume(pairs)
    # Thirds and tenths do not come out even in binary: what is offered has to be on the right side all the same.
    shares = st.sampled_from([0.0, 0.0, 1 / 3, 0.7, 0.97, 1.0])
    promised = {key: draw(shares) * CAPACITY_MBPS for key in lab.network.links}
    load = {key: draw(shares) * CAPACITY_MBPS for key in lab.network.links if draw(st.booleans())}
    source, target = draw(st.sampled_from(pairs))
    request = ask(source, target, draw(st.sampled_from([0.1, 2.5, 9.0, 100.0])), both_ways=draw(st.booleans()))
    return Situation(lab.network, lab.directory, booked(lab, promised), load), request


Asked = tuple[Situation, VmRequest]


def keeps(at: Situation, request: VmRequest, path: tuple[LinkKey, ...]) -> bool:
    """Whether a path has the bandwidth in every direction asked for, in time."""
    links = path + tuple(reverse(key) for key in path) if request.both_ways else path
    for key in links:
        if key not in at.network.links or at.resources.free(key) < request.bandwidth_mbps:
            return False
    latency = slower_ms(at.network, path) if request.both_ways else latency_ms(at.network, path)
    return request.max_latency_ms is None or (latency is not None and latency <= request.max_latency_ms)


@on_any_fabric
@given(asked(), st.sampled_from([None, 0.0, 1.0, 3.0, 12.0]))
def test_a_path_is_found_exactly_where_one_keeps_all_that_is_asked(
    case: Asked, max_latency_ms: float | None
) -> None:
    at, request = case
    request = replace(request, max_latency_ms=max_latency_ms)
    hosts = at.network.hosts
    ends = hosts[request.source_mac].dpid, hosts[request.target_mac].dpid
    possible = [path for path in simple_paths(at.network, *ends) if keeps(at, request, path)]
    answer = outcome(request, at)
    if isinstance(answer, NotPossible):
        assert not possible
        assert answer.field in ("bandwidth_mbps", "max_latency_ms")
    else:
        assert answer.links in possible
        assert answer.latency_ms == latency_ms(at.network, answer.links)


@on_any_fabric
@given(asked())
def test_what_a_plan_promises_can_be_reserved(case: Asked) -> None:
    at, request = case
    path = outcome(request, at)
    if isinstance(path, StitchPath):
        assert isinstance(at.resources, Resources)
        at.resources.reserve("stitch", links_to_reserve(request, path), request.bandwidth_mbps)


def cost(at: Situation, request: VmRequest, path: tuple[LinkKey, ...]) -> float:
    """What the plan minimises, over a path."""
    topology = at.network.both_ways if request.both_ways else at.network.topology
    load = np.array([at.load_mbps.get(key, 0.0) for key in at.network.link_order])
    costs = link_cost(topology, load_mbps=load + request.bandwidth_mbps, weights=CostWeights())
    return sum(float(costs[at.network.link_order.index(key)]) for key in path)


@on_any_fabric
@given(asked(), st.data())
def test_a_path_that_is_remembered_is_as_good_as_one_that_is_searched(case: Asked, data: st.DataObject) -> None:
    at, request = case
    assert isinstance(at.resources, Resources)
    ends = at.network.hosts[request.source_mac], at.network.hosts[request.target_mac]
    links = sorted(at.network.links)
    for number in range(data.draw(st.integers(1, 8))):
        key = data.draw(st.sampled_from(links))
        if at.resources.release(key) is None and (free := at.resources.free(key)) > 0:
            at.resources.reserve(key, (key,), free * data.draw(st.sampled_from([0.5, 1.0])))
        # Another pair on the same two switches, and somebody whose own bandwidth counts as free.
        without = Without(at.resources, tuple(data.draw(st.lists(st.sampled_from(links), max_size=1))))
        now = replace(at, resources=without if data.draw(st.booleans()) else at.resources)
        kept, searched = outcome(request, now), outcome(request, replace(now, paths=PathMemory()))
        assert isinstance(kept, StitchPath) == isinstance(searched, StitchPath), number
        if isinstance(kept, StitchPath) and isinstance(searched, StitchPath):
            assert keeps(now, request, kept.links)
            assert cost(at, request, kept.links) == pytest.approx(cost(at, request, searched.links))
            assert (kept.hops[0].dpid, kept.hops[-1].dpid) == (ends[0].dpid, ends[1].dpid)


@on_any_fabric
@given(asked())
def test_a_bandwidth_that_no_path_has_is_answered_with_the_most_that_works(case: Asked) -> None:
    at, request = case
    error = refusal(replace(request, bandwidth_mbps=1000.0), at)
    assert error.field == "bandwidth_mbps"
    most = offered(error)
    if most is not None:
        plan_path(replace(request, bandwidth_mbps=most), at)
    more = replace(request, bandwidth_mbps=(most or 0.0) + 0.002)
    assert refusal(more, at).field == "bandwidth_mbps"


@on_any_fabric
@given(asked())
def test_a_latency_that_no_path_has_is_answered_with_the_least_that_works(case: Asked) -> None:
    at, request = case
    hurried = replace(request, bandwidth_mbps=0.1, max_latency_ms=0.01)
    error = outcome(hurried, at)
    if isinstance(error, StitchPath) or error.field != "max_latency_ms":
        return
    least = offered(error)
    if least is None:
        assert "not measured yet" in error.reason
        return
    plan_path(replace(hurried, max_latency_ms=least), at)
    sooner = replace(hurried, max_latency_ms=least - 0.02)
    assert refusal(sooner, at).field == "max_latency_ms"


def test_a_detour_is_taken_where_the_short_way_has_no_room() -> None:
    fabric = Fabric()
    short = fabric.join(1, 2)
    detour = (fabric.join(1, 3), fabric.join(3, 2))
    source, target = fabric.host(1), fabric.host(2)
    assert plan_path(ask(source, target), situation(fabric)).links == (short,)
    path = plan_path(ask(source, target), situation(fabric, promised={short: 9.5}))
    assert path.links == detour
    assert path.hops == (
        Hop(1, source.port_no, detour[0][1]),
        Hop(3, detour[0][3], detour[1][1]),
        Hop(2, detour[1][3], target.port_no),
    )
    assert path.latency_ms == 2.0


def test_a_detour_is_taken_where_the_short_way_is_crowded_unless_that_is_too_slow() -> None:
    fabric = Fabric()
    short = fabric.join(1, 2)
    detour = (fabric.join(1, 3), fabric.join(3, 2))
    source, target = fabric.host(1), fabric.host(2)
    crowded = situation(fabric, load={short: 12.0})
    assert plan_path(ask(source, target), crowded).links == detour
    assert plan_path(ask(source, target, max_latency_ms=1.5), crowded).links == (short,)


@pytest.mark.parametrize(("free_mbps", "named"), [(2 / 3, "0.666"), (8.2, "8.2"), (0.0004, "0"), (9.0, "9")])
def test_the_most_is_named_in_whole_kbit(free_mbps: float, named: str) -> None:
    fabric = Fabric()
    link = fabric.join(1, 2)
    source, target = fabric.host(1), fabric.host(2)
    error = refusal(ask(source, target, 9.5), situation(fabric, promised={link: CAPACITY_MBPS - free_mbps}))
    assert error.reason == f"no path has 9.5 Mbit/s free; {named} is the most"


@pytest.mark.parametrize(("latency_ms", "named"), [(1 / 3, "0.34"), (8.2, "8.2"), (10.0, "10"), (0.001, "0.01")])
def test_the_least_latency_is_named_in_hundredths_of_a_millisecond(latency_ms: float, named: str) -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=latency_ms)
    source, target = fabric.host(1), fabric.host(2)
    error = refusal(ask(source, target, max_latency_ms=latency_ms / 2), situation(fabric))
    assert error.remedy == f"allow {named} ms or more"
    plan_path(ask(source, target, max_latency_ms=offered(error)), situation(fabric))


def test_two_hosts_on_one_switch_need_no_link() -> None:
    fabric = Fabric()
    source, target = fabric.host(1), fabric.host(1)
    path = plan_path(ask(source, target, 1000.0, max_latency_ms=0.1, both_ways=True), situation(fabric))
    assert (path.links, path.latency_ms) == ((), 0.0)
    assert path.hops == (Hop(1, source.port_no, target.port_no),)


def test_both_ways_needs_room_in_both_directions() -> None:
    fabric = Fabric()
    link = fabric.join(1, 2)
    source, target = fabric.host(1), fabric.host(2)
    at = situation(fabric, promised={reverse(link): 7.0})
    both = ask(source, target, 5.0, both_ways=True)
    error = refusal(both, at)
    assert (error.field, offered(error)) == ("bandwidth_mbps", 3.0)
    path = plan_path(replace(both, both_ways=False), at)
    assert links_to_reserve(replace(both, both_ways=False), path) == (link,)
    assert links_to_reserve(both, path) == (link, reverse(link))


def test_both_ways_needs_a_wire_that_works_both_ways() -> None:
    fabric = Fabric()
    fabric.join(1, 2, one_way=True)
    source, target = fabric.host(1), fabric.host(2)
    plan_path(ask(source, target), situation(fabric))
    assert refusal(ask(source, target, both_ways=True), situation(fabric)).field == "bandwidth_mbps"


def test_nothing_is_promised_on_a_link_of_unknown_capacity() -> None:
    fabric = Fabric()
    fabric.join(1, 2, capacity_mbps=None)
    source, target = fabric.host(1), fabric.host(2)
    error = refusal(ask(source, target), situation(fabric))
    assert error.field == "bandwidth_mbps"
    assert "0 is the most" in error.reason


def test_a_latency_that_is_not_measured_cannot_be_promised() -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=None)
    source, target = fabric.host(1), fabric.host(2)
    assert plan_path(ask(source, target), situation(fabric)).latency_ms is None
    error = refusal(ask(source, target, max_latency_ms=1e6), situation(fabric))
    assert error.field == "max_latency_ms"
    assert "not measured yet" in error.reason
    measured = (fabric.join(1, 3), fabric.join(3, 2))
    assert plan_path(ask(source, target, max_latency_ms=2.0), situation(fabric)).links == measured


def test_hosts_of_different_networks_cannot_be_stitched() -> None:
    fabric = Fabric()
    fabric.join(1, 2)
    source, target = fabric.host(1, vnet="red"), fabric.host(2, vnet="blue")
    error = refusal(ask(source, target), situation(fabric))
    assert error.field == "destination"
    assert "'blue'" in error.reason and "'red'" in error.reason


def test_hosts_that_are_away_or_the_same_or_cut_off_are_named() -> None:
    fabric = Fabric()
    source, target = fabric.host(1), fabric.host(2)
    gone = Host("02:00:00:00:00:77", 1, 9)
    at = situation(fabric)
    assert refusal(ask(gone, target), at).field == "source"
    assert refusal(ask(source, gone), at).field == "destination"
    assert "itself" in refusal(ask(source, source), at).reason
    assert "no chain of links" in refusal(ask(source, target), at).reason


def test_a_limit_on_latency_holds_both_ways() -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=1.0)
    source, target = fabric.host(1), fabric.host(2)
    slow_back = fabric.network.links
    key = next(key for key in slow_back if key[0] == 2)
    links = dict(slow_back) | {key: replace(slow_back[key], latency_ms=9.0)}
    at = situation(fabric)
    at = replace(at, network=replace(at.network, links=links))
    both = replace(ask(source, target, max_latency_ms=5.0), both_ways=True)
    assert plan_path(ask(source, target, max_latency_ms=5.0), at).latency_ms == 1.0
    assert "takes 9 ms" in refusal(both, at).reason


def test_all_that_stands_in_the_way_is_named_with_what_would_work_together() -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=5.0)
    source, target = fabric.host(1), fabric.host(2)
    at = situation(fabric)
    error = refusal(ask(source, target, 500.0, max_latency_ms=1.0), at)
    assert "10 is the most" in error.reason and "takes 5 ms" in error.reason
    assert "not measured" not in error.reason
    assert "ask for 10 or less" in error.remedy and "allow 5 ms or more" in error.remedy
    plan_path(ask(source, target, 10.0, max_latency_ms=5.0), at)


def test_an_unmeasured_latency_is_told_beside_a_bandwidth_that_no_path_has() -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=None)
    error = refusal(ask(fabric.host(1), fabric.host(2), 500.0, max_latency_ms=1.0), situation(fabric))
    assert "10 is the most" in error.reason and "not measured yet" in error.reason


def test_a_search_that_ends_early_gives_what_it_has_or_says_that_it_knows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=5.0)
    request = ask(fabric.host(1), fabric.host(2), max_latency_ms=9.0)
    at = situation(fabric)
    spent = LabelBudget("a", "b", 1, 0.0, None)

    def gives_up(*_: object) -> Path:
        raise spent

    monkeypatch.setattr("stitching.plan.constrained_path", gives_up)
    error = refusal(request, at)
    assert "in the steps that a search may take" in error.reason and "not measured" not in error.reason
    spent.best = shortest_path(at.network.topology, *(f"{dpid:016x}" for dpid in (1, 2)))
    assert plan_path(request, at).latency_ms == 5.0


@pytest.mark.parametrize("fields", [("bandwidth_mbps", "max_latency_ms"), ("max_latency_ms",)])
def test_a_value_that_was_not_found_in_time_is_not_called_unmeasured(
    monkeypatch: pytest.MonkeyPatch, fields: tuple[str, ...]
) -> None:
    fabric = Fabric()
    fabric.join(1, 2, latency_ms=5.0)
    request = ask(fabric.host(1), fabric.host(2), max_latency_ms=9.0)

    def refuses(_: object, src: str, dst: str, *__: object) -> Path:
        raise NoPath(src, dst, "no change of it is known to help", faults=tuple(map(Fault, fields)))

    monkeypatch.setattr("stitching.plan.constrained_path", refuses)
    error = refusal(request, situation(fabric))
    assert error.field == "max_latency_ms"
    assert "not measured" not in error.reason and "allow more latency" in error.remedy
