"""Sites that cannot be together are refused by name."""

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.overlay.sites import SitesRefused, checked, overlap
from tests.unit.overlay_world import a_site, world


def test_sites_apart_are_taken() -> None:
    assert set(checked(world(5).values())) == set(range(1, 8))


def test_an_overlap_names_both_sites_and_prefixes() -> None:
    wide = a_site(3, prefixes=(IPv4Network("10.0.0.0/8"),))
    with pytest.raises(SitesRefused, match=r"10\.0\.0\.0/8 of s3 overlaps 10\.0\.4\.0/24 of s4"):
        checked([wide, a_site(4)])


def test_the_range_of_the_overlay_is_its_own() -> None:
    with pytest.raises(SitesRefused, match="the overlay itself"):
        checked([a_site(4)], IPv4Network("10.0.4.128/25"))


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ([a_site(1), a_site(1, name="other")], "both have serial 1"),
        ([a_site(1), a_site(2, name="s1")], "two sites are called s1"),
        ([a_site(1, relay=True, prefixes=(IPv4Network("10.0.0.0/8"),))], "is a relay and has prefixes"),
        ([a_site(1, uplinks=a_site(1).uplinks * 2)], "two uplinks of one name"),
    ],
)
def test_what_two_claim_is_refused(sites: list[object], said: str) -> None:
    with pytest.raises(SitesRefused, match=said):
        checked(sites)  # type: ignore[arg-type]


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


@given(st.lists(a_prefix, max_size=8))
def test_an_overlap_is_found_exactly_where_there_is_one(prefixes: list[IPv4Network | IPv6Network]) -> None:
    claims = [(prefix, str(place)) for place, prefix in enumerate(prefixes)]
    there_is_one = any(
        one.version == other.version and one.overlaps(other)
        for place, one in enumerate(prefixes)
        for other in prefixes[:place]
    )
    found = overlap(claims)
    assert (found is not None) == there_is_one
    if found is not None:
        assert found[0][0].overlaps(found[1][0])
