"""Which bridges are joined, and by what: as far as there are ways, with numbers that nobody else has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_network

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ryu_apps.overlay.keeping import KeptOverlay, Writing, restored
from ryu_apps.overlay.recalling import recalled_bridge
from ryu_apps.store.codec import load
from stitching.overlay.explaining import Leg
from stitching.overlay.link_capacity import carried
from stitching.overlay.links import MOST_LINKED, LinkBook, anchor, anchor_prefixes, link_ends, next_links
from stitching.overlay.replacing import SiteReport
from stitching.overlay.sites import Address, Bridge, Site, Uplink
from stitching.overlay.tunnels import Line, LineState, Phase, Tunnel, TunnelBook, TunnelSpec, anchor_places, slots
from tests.unit.overlay_world import a_site, world
from tests.unit.test_overlay_rounds import Lab

EVERYBODY = (1, 2, 3, 4, 5)


def bridge(dpid: int, name: str = "br0") -> Bridge:
    return Bridge(name, dpid)


def sites(*serials: int, **more: Bridge) -> dict[int, Site]:
    """Sites with a bridge each, whose datapath id is their serial."""
    return {serial: a_site(serial, bridge=more.get(f"s{serial}", bridge(serial))) for serial in serials}


def linked(book: LinkBook, known: dict[int, Site], **reports: SiteReport) -> LinkBook:
    said = {int(name[1:]): report for name, report in reports.items()}
    return next_links(book, known, said, TunnelBook(), lambda _a, _b: True).book


def test_each_two_bridges_that_have_a_way_are_joined_and_both_ends_are_told_of_each_other() -> None:
    apart = {(1, 3), (3, 1)}
    made = next_links(LinkBook(), sites(1, 2, 3), {}, TunnelBook(), lambda a, b: (a, b) not in apart)
    assert made.book.by_pair.keys() == {(1, 2), (2, 3)} and not made.problems
    ends = link_ends(made.book, TunnelBook())
    ((one,), (other, _)) = ends[1], ends[2]
    assert (one.name, one.vni, one.local, one.remote) == (other.name, other.vni, other.remote, other.local)
    assert (one.peer, other.peer) == (2, 1)
    assert ip_network(one.local) == anchor_prefixes(made.book, TunnelBook())[1]


def test_a_link_outlasts_its_way_and_its_sites_silence_but_not_its_bridge() -> None:
    book = linked(LinkBook(), sites(1, 2))
    again = next_links(book, sites(1, 2), {}, TunnelBook(), lambda _a, _b: False)
    assert again.book is book and not again.events
    moved = linked(book, sites(1, 2, s2=bridge(2, "br1")))
    assert moved.links[0].vni != book.links[0].vni and moved.links[0].bridge_b.name == "br1"
    gone = next_links(book, {**sites(1), 2: a_site(2)}, {}, TunnelBook(), lambda _a, _b: True)
    assert not gone.book.links and "s2 has no bridge br0" in gone.events[0]
    assert dict(gone.book.anchors).keys() == {1, 2}, "a member keeps its address"


def test_ports_are_as_sites_say_and_of_a_silent_one_as_it_said() -> None:
    book = linked(LinkBook(), sites(1, 2))
    name = book.links[0].name
    book = linked(book, sites(1, 2), s1=SiteReport(1, ports={name: 7}))
    assert book.plugged == frozenset()
    book = linked(book, sites(1, 2), s1=SiteReport(1, ports={name: 7}), s2=SiteReport(1, ports={name: 9}))
    assert book.plugged == {((1, 7), (2, 9))}
    assert linked(book, sites(1, 2)) is book
    assert linked(book, sites(1, 2), s2=SiteReport(2)).plugged == frozenset()


def test_a_link_carries_what_the_narrowest_uplink_on_its_way_does() -> None:
    """From 1 to 2 packets go across 3, and straight back."""
    lines = [Line(1, "wan", 2, "wan", "wireguard"), Line(1, "wan", 3, "wan", "wireguard"),
             Line(2, "lte", 3, "wan", "wireguard")]  # fmt: skip
    made = [Tunnel(line, 1, TunnelSpec(), slot, 0.0, Phase.ACTIVE, 0.0, 1) for slot, line in enumerate(lines)]
    tunnels = TunnelBook({one.line: LineState(1, (one,)) for one in made})
    said = {serial: SiteReport(1, ports={"l1-2-1": 7}) for serial in (1, 2)}
    book = next_links(LinkBook(), sites(1, 2), said, tunnels, lambda _a, _b: True).book
    book = next_links(book, sites(1, 2), said, tunnels, lambda _a, _b: True).book
    to = {(1, 2): made[1], (3, 2): made[2], (2, 1): made[0]}
    at = {str(anchor(tunnels, place)): serial for serial, place in book.anchors}

    def next_leg(serial: int, address: Address, _class: str | None) -> Leg | None:
        tunnel = to.get((serial, at[str(address)]))
        return Leg(tunnel.name, tunnel.line.other(serial)) if tunnel is not None else None

    def carries(*known: tuple[int, str, float]) -> tuple[float | None, float | None]:
        widths = {(serial, name): mbps for serial, name, mbps in known}
        there = {
            serial: a_site(serial, uplinks=tuple(an_uplink(serial, name, widths) for name in ("wan", "lte")))
            for serial in (1, 2, 3)
        }
        (found,) = carried(book, tunnels, there, next_leg).values()
        return found

    assert carries() == (None, None)
    assert carries((1, "wan", 100.0)) == (100.0, 100.0)
    assert carries((1, "wan", 100.0), (2, "lte", 10.0), (2, "wan", 50.0)) == (10.0, 50.0)
    assert carries((1, "wan", 100.0), (3, "wan", 5.0), (1, "lte", 1.0)) == (5.0, 100.0)
    del to[3, 2]
    assert carries((1, "wan", 100.0)) == (None, 100.0), "nobody knows the way there"
    assert carried(replace(book, links=(replace(book.links[0], port_b=None),)), tunnels, {}, next_leg) == {}


def an_uplink(serial: int, name: str, widths: Mapping[tuple[int, str], float]) -> Uplink:
    return Uplink(name, IPv4Address(f"192.0.2.{serial}"), widths.get((serial, name)))


def test_of_two_that_call_one_switch_theirs_who_had_it_keeps_it() -> None:
    book = linked(LinkBook(), sites(2, 3))
    both = next_links(book, sites(1, 2, 3, s1=bridge(2)), {}, TunnelBook(), lambda _a, _b: True)
    assert both.book.by_pair.keys() == {(2, 3)}
    assert "s1 and s2 both have a bridge with the datapath id 0000000000000002" in both.problems[0]
    assert next_links(LinkBook(), sites(1, 2, 3, s1=bridge(2)), {}, TunnelBook(), lambda _a, _b: True).problems


def test_more_bridges_than_can_be_joined_are_named() -> None:
    many = sites(*range(1, MOST_LINKED + 2))
    made = next_links(LinkBook(), many, {}, TunnelBook(), lambda _a, _b: False)
    assert len(made.problems) == 1 and f"s{MOST_LINKED + 1}" in made.problems[0]


def test_anchors_and_tunnels_have_no_address_in_common() -> None:
    whole: IPv4Network = IPv4Network("100.96.0.0/27")
    assert (slots(whole), anchor_places(whole)) == (15, 1)
    # One that was given before there were anchors.
    line = Line(1, "a", 2, "a", "wireguard")
    tunnel = Tunnel(line, 1, TunnelSpec(), 15, 0.0, Phase.ACTIVE, 0.0, 1)
    made = next_links(LinkBook(), sites(1), {}, TunnelBook({}, 0, whole), lambda _a, _b: True)
    assert [f"{one}" for one in anchor_prefixes(made.book, TunnelBook({}, 0, whole)).values()] == [
        "100.96.0.30/32"
    ]
    used = TunnelBook({line: LineState(1, (tunnel,))}, 0, whole)
    refused = next_links(LinkBook(), sites(1), {}, used, lambda _a, _b: True)
    assert not refused.book.anchors and "no address left" in refused.problems[0]


class Comings(RuleBasedStateMachine):
    """Sites come, go, have bridges and lose them."""

    def __init__(self) -> None:
        super().__init__()
        self.book = LinkBook()
        self.bridges: dict[int, Bridge | None] = {}
        self.ways: set[tuple[int, int]] = set()
        self.vnis: dict[int, tuple[object, ...]] = {}

    @rule(serial=st.sampled_from(EVERYBODY), dpid=st.integers(1, 6) | st.none(), name=st.sampled_from(("a", "b")))
    def come(self, serial: int, dpid: int | None, name: str) -> None:
        self.bridges[serial] = None if dpid is None else Bridge(name, dpid)

    @rule(serial=st.sampled_from(EVERYBODY))
    def leave(self, serial: int) -> None:
        self.bridges.pop(serial, None)

    @rule(ways=st.sets(st.tuples(st.sampled_from(EVERYBODY), st.sampled_from(EVERYBODY))))
    def find_ways(self, ways: set[tuple[int, int]]) -> None:
        self.ways = ways

    @rule()
    def step(self) -> None:
        known = {serial: a_site(serial, bridge=one) for serial, one in self.bridges.items()}

        def joined(a: int, b: int) -> bool:
            return {(a, b), (b, a)} <= self.ways

        before = self.book
        self.book = next_links(before, known, {}, TunnelBook(), joined).book
        for link in self.book.links:
            assert link == before.by_pair.get(link.pair) or joined(*link.pair)
            assert (self.bridges[link.a], self.bridges[link.b]) == (link.bridge_a, link.bridge_b)
            # A number never stands for two different links.
            ends = link.pair, link.bridge_a, link.bridge_b
            assert self.vnis.setdefault(link.vni, ends) == ends
        for serial, place in before.anchors:
            if serial in known:
                assert self.book.places[serial] == place
        for pair, link in before.by_pair.items():
            if (self.bridges.get(link.a), self.bridges.get(link.b)) == (link.bridge_a, link.bridge_b):
                assert self.book.by_pair[pair] == link, "nothing is changed without need"
        again = next_links(self.book, known, {}, TunnelBook(), joined)
        assert again.book is self.book and not again.events

    @invariant()
    def everything_is_given_once(self) -> None:
        vnis = [link.vni for link in self.book.links]
        dpids = {
            serial: one.dpid
            for link in self.book.links
            for serial, one in ((link.a, link.bridge_a), (link.b, link.bridge_b))
        }
        assert len(set(vnis)) == len(vnis)
        assert len(set(dpids.values())) == len(dpids)
        assert len(set(self.book.places.values())) == len(self.book.places)


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def joined_lab(n_sites: int = 2) -> Lab:
    """A star of sites with bridges around relays."""
    known = {
        serial: site if serial < 3 else replace(site, bridge=bridge(serial))
        for serial, site in world(n_sites, 2).items()
    }
    return Lab(known)


def test_a_site_is_told_of_its_links_once_packets_have_a_way_between_the_anchors() -> None:
    lab = joined_lab()
    lab.run(10.0)
    (link,) = lab.overlay.links.links
    assert link.pair == (3, 4)
    for serial, other in ((3, 4), (4, 3)):
        plan = lab.told[serial][1]
        (end,) = plan.links
        assert (end.name, end.peer) == (link.name, other)
        assert ip_network(end.local) in plan.owned
        # By way of both relays: a link goes over to another way with the routes.
        assert plan.next_hops[ip_network(end.remote)] == {1, 2}
    relay, site = lab.told[1][1], lab.told[3][1]
    assert not relay.links and set(relay.anchors) == {*site.next_hops, *site.owned} - {
        prefix for one in lab.sites.values() for prefix in one.prefixes
    }
    assert not site.anchors
    assert not any(made.changed for made in lab.run(30.0))


def test_a_member_that_leaves_takes_its_links_along() -> None:
    lab = joined_lab(3)
    lab.run(10.0)
    assert len(lab.overlay.links.links) == 3
    lab.sites = {serial: site for serial, site in lab.sites.items() if serial != 5}
    lab.departed = frozenset({5})
    del lab.told[5]
    lab.round()
    assert lab.overlay.links.by_pair.keys() == {(3, 4)}
    assert all(end.peer != 5 for _, plan in lab.told.values() for end in plan.links)


def test_links_and_anchors_are_the_same_after_a_restart() -> None:
    lab = joined_lab()
    lab.run(10.0)
    before = lab.overlay
    lab.overlay = restored(load(KeptOverlay, Writing().text(before)))
    assert lab.overlay.links == before.links
    assert recalled_bridge(lab.overlay, 3) == bridge(3) and recalled_bridge(lab.overlay, 1) is None
    assert not lab.round().changed
