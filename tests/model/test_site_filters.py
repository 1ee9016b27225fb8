"""Whatever the policy: what sites do with a packet is what `explain` says of it, by the same rule."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryu_apps.overlay.ruling import SiteRules
from ryu_apps.overlay.wanting import LINKS_RULE, filters_of, with_links
from stitching.match import TCP, UDP
from stitching.overlay.explaining import Leg, SiteExplanation, at_two_sites, explain_between
from stitching.overlay.segmenting import SiteFilters, host_at
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Site
from stitching.policy.decision import Flow, decide, party_of
from stitching.policy.document import ANY, BETWEEN, By, Demands, Group, Policy, Rule, Selector
from stitching.policy.ruling import Ruling
from stitching.policy.windows import Once
from stitching.vnet import Directory, Member, VNet
from tests.model.nft_table import Judged, NftTable, Sent
from tests.model.policies import NOW_S, a_rule, flows
from tests.unit.overlay_world import a_site
from vte_agent.protocol.filters import Filters, Standing
from vte_agent.segmentation import NO_RULE, TO_MACHINE, compile_filters

SITES = {
    1: a_site(1, relay=True),
    2: a_site(2, prefixes=(ip_network("10.0.2.0/24"), ip_network("fd00:2::/64"))),
    3: a_site(3, prefixes=(ip_network("10.0.3.0/24"), ip_network("10.7.0.0/29"), ip_network("fd00:3::/64"))),
    4: a_site(4),
}
"""A relay that passes on, and three sites."""

ADDRESSES = {
    2: ("10.0.2.0", "10.0.2.1", "10.0.2.5", "10.0.2.128", "10.0.2.255", "fd00:2::1"),
    3: ("10.0.3.1", "10.0.3.9", "10.0.3.200", "10.7.0.1", "10.7.0.4", "fd00:3::7"),
    4: ("10.0.4.1", "10.0.4.2", "10.0.4.127", "10.0.4.128"),
}
SUBNETS = ("10.0.0.0/16", "10.0.2.0/25", "10.0.2.4/30", "10.0.3.0/24", "10.0.3.8/31", "10.0.4.128/25", "fd00::/32")
MEMBERS = ("10.0.2.5", "10.0.3.9", "10.7.0.4", "10.0.4.2", "fd00:2::1")


@st.composite
def directories(draw: st.DrawFn) -> Directory:
    """Two virtual networks that share out some subnets and members with an address."""
    whose = st.sampled_from(["red", "blue", ""])
    subnets = {subnet: draw(whose) for subnet in SUBNETS}
    owners = {ip: draw(whose) for ip in MEMBERS}
    return Directory.of(
        VNet(
            name,
            tuple(
                Member(f"02:00:00:00:00:0{place}", f"m{place}", ("big",) if place % 2 else (), (ip,))
                for place, ip in enumerate(MEMBERS)
                if owners[ip] == name
            ),
            tuple(subnet for subnet in SUBNETS if subnets[subnet] == name),
        )
        for name in ("red", "blue")
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    one = st.one_of(
        st.sampled_from([Selector(By.VNET, (name,)) for name in ("red", "blue", "default")]),
        st.sampled_from([Selector(By.HOST, (name,)) for name in ("m1", "m2", "10.0.2.1", "10.0.3.200")]),
        st.sampled_from([Selector(By.SUBNET, (net,)) for net in ("10.0.2.0/26", "10.0.0.0/22", "fd00:3::/64")]),
        st.just(Selector(By.LABELS, ("big",))),
    )
    group = Group("g", tuple(draw(st.lists(one, max_size=3))))
    ends = st.one_of(st.just((ANY,)), st.just((Selector(By.GROUP, ("g",)),)), one.map(lambda s: (s,)))
    rules = tuple(draw(a_rule(number, ends)) for number in range(draw(st.integers(0, 6))))
    return Policy(rules, MappingProxyType({"g": group}), MappingProxyType({"eu": frozenset({1})}))


def ruled(policy: Policy, directory: Directory) -> dict[int, SiteFilters | None]:
    rules = SiteRules()
    rules.vnets(directory.vnets.values())
    rules.policy(policy, NOW_S)
    rules.sites(SITES)
    return {serial: rules.of(a_plan(serial)) for serial in SITES}


def a_plan(serial: int) -> SitePlan:
    return SitePlan(serial, serial == 1, SITES[serial].prefixes)


def judged(filters: SiteFilters | None, sent: Sent, *, hook: str = "passing", side: str = "oifname") -> Judged:
    return table_of(filters).judge(sent, hook, side) if filters is not None else Judged(True, None)


@lru_cache(maxsize=8)
def table_of(filters: SiteFilters) -> NftTable:
    return NftTable(compile_filters(filters_of(filters)))


def explained(
    policy: Policy,
    directory: Directory,
    source: str,
    target: str,
    flow: Flow,
    sites: dict[int, Site] | None = None,
) -> SiteExplanation:
    known = sites or SITES
    ends = at_two_sites((ip_address(source),), (ip_address(target),), known)
    assert ends is not None
    there = ends[1][1].serial

    def by_the_relay(serial: int, _address: object, _name: str | None) -> Leg:
        return Leg(f"t{serial}", 1 if serial != 1 else there)

    return explain_between(Ruling(policy, directory, NOW_S), ends, flow, known, (), by_the_relay)


@settings(deadline=None, max_examples=100)
@given(directories(), policies(), st.lists(flows(), min_size=1, max_size=5), st.data())
def test_what_is_explained_is_what_sites_do_and_count(
    directory: Directory, policy: Policy, packets: list[Flow], data: st.DataObject
) -> None:
    filters = ruled(policy, directory)
    for flow in packets:
        here, there = data.draw(st.permutations([2, 3, 4]))[:2]
        source, target = (data.draw(st.sampled_from(ADDRESSES[site])) for site in (here, there))
        if ip_address(source).version != ip_address(target).version:
            continue
        sent = Sent(source, target, flow.protocol or 253, flow.src_port, flow.dst_port)
        told = explained(policy, directory, source, target, flow)
        one, other = (party_of(host_at(ip_address(end), directory), directory) for end in (source, target))
        assert told.verdict == decide(policy, one, other, flow, NOW_S)
        for serial, side in ((here, "oifname"), (1, "iifname"), (there, "iifname")):
            fate = judged(filters[serial], sent, side=side)
            assert fate.passes == told.arrives
            if fate.rule is not None:
                rule = NO_RULE if told.verdict.rule == BETWEEN else told.verdict.rule
                assert fate.rule == (rule, told.arrives)
            elif serial == here:
                assert told.verdict.by_default and told.verdict.allowed
        own = [judged(filters[site], sent, hook=hook, side=side)
               for site, hook, side in ((here, "leaving", "oifname"), (there, "arriving", "iifname"))]  # fmt: skip
        assert [one.passes for one in own] == [told.arrives] * 2, "addresses of the machine itself"


ORDERS = VNet("orders", (Member("02:00:00:00:00:01", "web", ("web",), ("10.0.2.10",)),
                         Member("02:00:00:00:00:02", "db", (), ("10.0.3.10",))))  # fmt: skip
TO_DB = Rule(
    "read orders", (Selector(By.LABELS, ("web",)),), (Selector(By.HOST, ("db",)),), TCP, ((5432, 5432),), True
)


def test_without_a_word_of_addresses_nothing_is_filtered() -> None:
    elsewhere = VNet("far", (Member("02:00:00:00:00:09", "x", (), ("192.0.2.9",)),), ("172.16.0.0/12",))
    unnamed = VNet("near", (Member("02:00:00:00:00:08", "y"),))
    assert set(ruled(Policy(), Directory.of([elsewhere, unnamed])).values()) == {None}


def test_hosts_of_two_networks_are_apart_and_all_others_reach_each_other() -> None:
    filters = ruled(Policy(), Directory.of([ORDERS]))
    for source, target, passes in (
        ("10.0.2.10", "10.0.3.10", True),
        ("10.0.2.10", "10.0.3.11", False),
        ("10.0.2.11", "10.0.3.10", False),
        ("10.0.2.11", "10.0.3.11", True),
        ("10.0.2.11", "10.0.4.1", True),
        ("192.0.2.1", "10.0.3.11", False),
    ):
        assert judged(filters[2], Sent(source, target)).passes is passes, (source, target)


def test_what_claims_an_address_of_the_site_itself_does_not_come_in_by_a_tunnel() -> None:
    filters = ruled(Policy(), Directory.of([ORDERS]))
    assert not judged(filters[3], Sent("10.0.3.11", "10.0.3.12"), side="iifname").passes


def test_at_the_machines_other_addresses_only_what_tunnels_need_is_reached() -> None:
    filters = ruled(Policy(), Directory.of([ORDERS]))

    def arrives(port: int, protocol: int = UDP, target: str = "100.64.0.2") -> Judged:
        sent = Sent("100.64.0.1", target, protocol, port, port)
        return judged(filters[3], sent, hook="arriving", side="iifname")

    assert all(arrives(port) == Judged(True, None) for port in (7661, 7662, 7663, 7664, 14790))
    for port, protocol in ((22, TCP), (7661, TCP), (53, UDP), (0, 47)):
        for target in ("100.64.0.2", "198.18.0.1", "fd77::2"):
            assert arrives(port, protocol, target) == Judged(False, (TO_MACHINE, False))
    assert judged(filters[3], Sent("100.64.0.1", "100.64.0.2", TCP, 1, 22), hook="leaving").passes


def test_only_those_are_told_of_a_rule_whom_it_concerns() -> None:
    rules = SiteRules()
    rules.vnets([ORDERS])
    rules.sites(SITES)
    before = {serial: rules.of(a_plan(serial)) for serial in SITES}
    rules.policy(Policy((TO_DB,)), NOW_S)
    rules.sites(SITES)
    assert {serial for serial in SITES if rules.of(a_plan(serial)) is not before[serial]} == {1, 2, 3}


def test_rules_hold_in_their_times_and_need_no_zone() -> None:
    directory = Directory.of([ORDERS])
    later = replace(TO_DB, allow=False, windows=(Once(NOW_S + 1, NOW_S + 2),))
    sent = Sent("10.0.2.10", "10.0.3.10", TCP, 40_000, 5432)
    assert judged(ruled(Policy((later,)), directory)[2], sent).passes
    now = replace(later, windows=(Once(NOW_S - 1, NOW_S + 2),))
    assert judged(ruled(Policy((now,)), directory)[2], sent) == Judged(False, ("read orders", False))
    encrypted = Policy((replace(TO_DB, demands=Demands(encrypted=True)),))
    assert judged(ruled(encrypted, directory)[2], sent).passes
    zoned = Policy((replace(TO_DB, demands=Demands(zones=frozenset({"eu"}))),))
    assert not judged(ruled(zoned, directory)[2], sent).passes
    told = explained(zoned, directory, "10.0.2.10", "10.0.3.10", Flow(TCP, 40_000, 5432))
    assert told.verdict.allowed and not told.arrives
    assert told.words == (
        "TCP to port 5432 from web to db is allowed by rule 'read orders', but only over switches of eu: tunnels "
        "are in no zone, so site s2 drops it"
    )


def test_it_is_told_who_decides_and_by_which_tunnels() -> None:
    directory = Directory.of([ORDERS])
    policy = Policy((TO_DB,))
    told = explained(policy, directory, "10.0.2.10", "10.0.3.10", Flow(TCP, 40_000, 5432))
    assert (told.nodes, told.tunnels) == (("s2", "r1", "s3"), ("t2", "t1"))
    assert told.words == (
        "TCP to port 5432 from web to db is allowed by rule 'read orders'; "
        "it goes from s2 to r1 to s3 by t2 and t1"
    )
    denied = explained(policy, directory, "10.0.2.11", "10.0.3.10", Flow(TCP, 40_000, 5432))
    assert denied.words == (
        "TCP to port 5432 from 10.0.2.11 to db is denied by the default between virtual networks; site s2 "
        "drops it before its tunnels"
    )


@pytest.mark.parametrize(("sources", "targets"), [(("10.0.2.1",), ("10.0.2.2",)), (("192.0.2.1",), ("10.0.2.2",)),
                                                  (("10.0.2.1",), ("fd00:3::7",))])  # fmt: skip
def test_what_is_not_between_two_sites_is_not_for_them_to_say(
    sources: tuple[str, ...], targets: tuple[str, ...]
) -> None:
    assert at_two_sites(tuple(map(ip_address, sources)), tuple(map(ip_address, targets)), SITES) is None


def test_a_prefix_with_many_named_addresses_has_as_few_parts_as_there_can_be() -> None:
    site = {2: a_site(2, prefixes=(IPv4Network("10.1.0.0/16"),)), 3: a_site(3)}
    members = tuple(
        Member(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", f"m{n}", (), (str(IPv4Address(0x0A010100 + n)),))
        for n in range(256)
    )
    rules = SiteRules()
    rules.vnets([VNet("all", members)])
    rules.sites(site)
    filters = rules.of(SitePlan(3, False, site[3].prefixes))
    assert filters is not None
    assert sum(len(block.prefixes) for block in filters.blocks) == 1 + 8


def test_who_passes_on_links_between_bridges_lets_them_through_and_nothing_more() -> None:
    anchors = ip_network("100.111.255.253/32"), ip_network("100.111.255.254/32")
    one, other = (str(anchor[0]) for anchor in anchors)
    filters = Filters(standings=(Standing(id=3, prefixes=(ip_network("10.0.2.0/24"),)),))
    assert with_links(filters, ()) is filters
    table = NftTable(compile_filters(with_links(filters, anchors)))
    assert table.judge(Sent(one, other, 17, 40_000, 14_790)) == Judged(True, (LINKS_RULE, True))
    assert table.judge(Sent(other, one, 17)) == Judged(True, (LINKS_RULE, True)), "a piece of one has no ports"
    for source, target, protocol in (("10.0.2.1", one, 17), (one, "10.0.2.1", 17), (one, other, 6)):
        assert not table.judge(Sent(source, target, protocol)).passes
    assert not NftTable(compile_filters(filters)).judge(Sent(one, other, 17)).passes
