"""What the controller knows of a site that does not speak: who can be called, and what it had."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from ryu_apps.overlay.recalling import recalled_transports, recalled_uplinks
from ryu_apps.overlay.reports import Reports, site_of
from stitching.overlay.rounds import Facts, OverlayPolicy, next_round
from stitching.overlay.rounds import Overlay as Decided
from stitching.overlay.sites import Uplink as SiteUplink
from tests.unit.overlay_world import a_site
from vte_agent.protocol.has import Has, Uplink
from vte_agent.protocol.members import Member

OWN, OTHER = ip_address("192.168.0.2"), ip_address("192.168.1.2")


def has(channel: str = "192.168.0.2") -> Has:
    uplinks = (Uplink(name="dsl", address=OWN), Uplink(name="lte", address=OTHER))
    return Has(generation=1, uplinks=uplinks, channel_address=ip_address(channel))


def member(**labels: str) -> Member:
    key = "A" * 43 + "="
    return Member(serial=3, name="ber", identity=key, pairing=key, labels=labels, not_after=1 << 39)


def callable_uplinks(said: Has, seen_from: str | None, **labels: str) -> list[str]:
    reports = Reports()
    reports.has(3, said, 0.0, seen_from)
    site = site_of(member(**labels), reports.said[3], reports.hidden.get(3, ()))
    return [one.name for one in site.uplinks if one.callable]


@pytest.mark.parametrize(
    ("seen_from", "labels", "found"),
    [
        ("192.168.0.2", {}, ["dsl", "lte"]),
        ("::ffff:192.168.0.2", {}, ["dsl", "lte"]),
        (None, {}, ["dsl", "lte"]),
        ("203.0.113.9", {}, ["lte"]),
        ("203.0.113.9", {"nat": "no"}, ["dsl", "lte"]),
        ("203.0.113.9", {"nat": "yes"}, []),
        ("203.0.113.9", {"nat": "dsl, lte"}, []),
        ("192.168.0.2", {"nat": "lte"}, ["dsl"]),
    ],
)
def test_an_uplink_that_is_seen_under_another_address_cannot_be_called(
    seen_from: str | None, labels: dict[str, str], found: list[str]
) -> None:
    assert callable_uplinks(has(), seen_from, **labels) == found


def test_a_nat_that_is_gone_is_one_no_more() -> None:
    reports = Reports()
    reports.has(3, has(), 0.0, "203.0.113.9")
    reports.has(3, has("192.168.1.2"), 1.0, "203.0.113.9")
    assert reports.hidden[3] == {OWN, OTHER}
    reports.has(3, has(), 2.0, "192.168.0.2")
    assert reports.hidden[3] == {OTHER}
    reports.forget(3)
    assert 3 not in reports.hidden


def test_what_a_site_had_is_known_from_what_it_was_told() -> None:
    uplinks: Any = (SiteUplink("dsl", OWN, callable=False), SiteUplink("lte", OTHER))
    sites = {1: a_site(1, relay=True, n_uplinks=2), 3: a_site(3, uplinks=uplinks), 4: a_site(4, n_uplinks=2)}
    overlay = next_round(Decided(), Facts(sites), OverlayPolicy(), 0.0).overlay
    assert [(u.name, u.address, u.callable) for u in recalled_uplinks(overlay, 3)] == [
        ("dsl", OWN, False),
        ("lte", OTHER, True),
    ]
    assert recalled_transports(overlay, 3) == ("wireguard", "ipsec")
    assert recalled_uplinks(overlay, 9) == () and recalled_transports(overlay, 9) == ()
