"""Sites that cannot be together: one of them is left out by name, and nobody else is touched."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.overlay.sites import Claims, Site, together
from tests.unit.overlay_world import a_site, world

NESTED = (IPv4Network("10.0.0.0/8"), IPv4Network("10.1.0.0/16"))


def test_sites_apart_are_taken() -> None:
    found = together(world(5).values())
    assert set(found.sites) == set(range(1, 8)) and not found.refused


def test_an_overlap_names_both_sites_and_prefixes_and_leaves_the_newer_out() -> None:
    wide = a_site(5, prefixes=(IPv4Network("10.0.0.0/8"),))
    found = together([wide, a_site(4), a_site(6)])
    assert set(found.sites) == {4, 6}
    assert len(found.refused) == 1 and "10.0.0.0/8 of s5 overlaps 10.0.4.0/24 of s4" in found.refused[0]


def test_who_was_there_stays_whatever_its_serial() -> None:
    old, new = a_site(9, prefixes=(IPv4Network("10.0.0.0/8"),)), a_site(4)
    assert set(together([old, new], before={9: old}).sites) == {9}
    assert set(together([old, new]).sites) == {4}


def test_the_range_of_the_overlay_is_its_own() -> None:
    found = together([a_site(4), a_site(5)], IPv4Network("10.0.4.128/25"))
    assert set(found.sites) == {5} and "the overlay itself" in found.refused[0]


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ([a_site(1), a_site(1, name="other")], "both have serial 1"),
        ([a_site(1), a_site(2, name="s1")], "two sites are called s1"),
        ([a_site(1, relay=True, prefixes=(IPv4Network("10.0.0.0/8"),))], "is a relay and has prefixes"),
        ([a_site(1, uplinks=a_site(1).uplinks * 2)], "two uplinks of one name"),
        (
            [a_site(1, prefixes=(IPv4Network("10.0.0.0/8"), IPv4Network("10.1.0.0/16")))],
            "10.1.0.0/16 of s1 overlaps 10.0.0.0/8 of itself",
        ),
    ],
)
def test_one_that_is_no_good_is_named_and_the_others_are_as_they_would_be_without(
    sites: list[Site], said: str
) -> None:
    others = [a_site(7), a_site(8)]
    found = together([*sites, *others])
    assert len(found.refused) == 1 and said in found.refused[0]
    assert {7, 8} <= set(found.sites) and len(found.sites) == len(others) + len(sites) - 1


def test_a_site_that_says_nonsense_goes_on_as_it_was() -> None:
    before = {site.serial: site for site in (a_site(1), a_site(2))}
    odd = replace(before[1], uplinks=before[1].uplinks * 2)
    found = together([odd, before[2]], before=before)
    assert dict(found.sites) == before and "two uplinks of one name" in found.refused[0]


a_prefix = st.one_of(
    st.builds(
        lambda at, length: IPv4Network((at >> (32 - length) << (32 - length), length)),
        st.integers(0, 2**32 - 1),
        st.integers(4, 12),
    ),
    st.builds(
        lambda at, length: IPv6Network((at >> (128 - length) << (128 - length), length)),
        st.integers(0, 2**128 - 1),
        st.integers(4, 10),
    ),
)


def common(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


@given(st.lists(a_prefix, max_size=12))
def test_a_claim_is_found_exactly_where_there_is_one(prefixes: list[IPv4Network | IPv6Network]) -> None:
    claims, made = Claims(), list[IPv4Network | IPv6Network]()
    for prefix in prefixes:
        found = claims.of(prefix)
        assert (found is not None) == any(common(prefix, other) for other in made)
        if found is None:
            claims.add(prefix, str(prefix))
            made.append(prefix)
        else:
            assert common(found[0], prefix)


@given(st.lists(st.lists(a_prefix, max_size=3), max_size=6), st.sets(st.integers(1, 6)))
def test_no_two_of_those_that_are_taken_clash_and_nobody_is_left_out_for_nothing(
    prefixes: list[list[IPv4Network | IPv6Network]], known: set[int]
) -> None:
    sites = {n: a_site(n, prefixes=tuple(own)) for n, own in enumerate(prefixes, 1)}
    before = together([site for n, site in sites.items() if n in known]).sites
    found = together(sites.values(), before=before)
    taken = [(n, one) for n, site in found.sites.items() for one in site.prefixes]
    assert not any(common(one, other) for place, (_, one) in enumerate(taken) for _, other in taken[:place])
    assert set(before) <= set(found.sites)
    assert len(found.refused) == len(sites) - len(found.sites)
    for n in sites.keys() - found.sites.keys():
        own = sites[n].prefixes
        assert any(common(one, other) for one in own for _, other in taken) or any(
            common(one, other) for place, one in enumerate(own) for other in own[:place]
        )
