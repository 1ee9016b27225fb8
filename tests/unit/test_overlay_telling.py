"""What is news to a site: it is told what its message is made of, and not whatever else has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.overlay.telling import Telling
from ryu_apps.overlay.wanting import FarEnd, wanted_of
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, next_round
from tests.unit.overlay_world import world
from vte_agent.protocol.base import Prefix, public_text
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import Wanted

KEY = Ed25519PrivateKey.generate()
US, OTHERS = (public_text(bytes([number]) * 32) for number in (1, 2))
SITES = world(3)


def a_roll(epoch: int, *controllers: str, revoked: tuple[int, ...] = ()) -> Signed:
    return Signed.of(
        Roll(epoch=epoch, issued_at=epoch, not_after=1 << 39, revoked=revoked, controllers=controllers), KEY
    )


ROLL = a_roll(1, US)
MEMBERS = dict.fromkeys(SITES, ROLL)


class Hearing:
    """What two relays and three sites are told of one overlay, message by message."""

    def __init__(self) -> None:
        self.telling = Telling()
        self.overlay = next_round(Overlay(), Facts(SITES), OverlayPolicy(), 0.0).overlay

    def hear(
        self,
        roll: Signed = ROLL,
        followed: tuple[str, ...] = (US,),
        members: Mapping[int, Signed] = MEMBERS,
        far_ends: Mapping[tuple[int, str], FarEnd] | None = None,
    ) -> dict[int, Wanted]:
        self.overlay, news = self.telling.news(self.overlay, roll, followed, members, far_ends or {})
        self.telling.told.update((told.serial, told) for told in news)
        return {told.serial: wanted_of(told) for told in news}


def test_each_is_told_once() -> None:
    sites = Hearing()
    assert sites.hear().keys() == SITES.keys()
    assert not sites.hear()


def test_a_later_roll_by_itself_is_no_news_and_is_in_what_comes_next() -> None:
    sites = Hearing()
    sites.hear()
    later = a_roll(2, US, revoked=(77,))
    assert not sites.hear(later)
    left = {serial: member for serial, member in MEMBERS.items() if serial != 5}
    news = sites.hear(later, members=left)
    # Only who passes on has a tunnel to it.
    assert news.keys() == {1, 2}
    assert all(told.roll == later for told in news.values())


def test_a_roll_that_names_other_controllers_is_news_to_all() -> None:
    sites = Hearing()
    first = sites.hear(a_roll(1), ())
    again = sites.hear(a_roll(2, US), (US,))
    assert again.keys() == first.keys() == SITES.keys()
    assert all(again[serial].generation > first[serial].generation for serial in SITES)
    assert sites.hear(a_roll(3, US, OTHERS), (US, OTHERS)).keys() == SITES.keys()


def test_what_is_said_again_to_one_who_comes_again_is_the_same() -> None:
    sites = Hearing()
    first = sites.hear()
    assert {serial: wanted_of(told) for serial, told in sites.telling.told.items()} == first


def test_where_the_other_end_has_said_something_its_end_is_called_and_routes_stay() -> None:
    sites = Hearing()
    first = sites.hear()[3]
    name, peer = first.tunnels[0].name, first.tunnels[0].peer
    said = sites.hear(far_ends={(peer, name): FarEnd(None, 7)})[3]
    assert first.routes and first.routes == said.routes
    assert first.tunnels[0].endpoint is None and said.tunnels[0].endpoint is not None


def test_without_a_tunnel_no_route_takes_it() -> None:
    sites = Hearing()
    first = sites.hear()[3]
    gone = first.tunnels[0]
    left = {serial: member for serial, member in MEMBERS.items() if serial != gone.peer}
    said = sites.hear(members=left)[3]
    assert any(gone.name in route.tunnels for route in first.routes)
    assert said.routes and not any(gone.name in route.tunnels for route in said.routes)


def test_other_ways_are_told_though_the_tunnels_are_the_same() -> None:
    sites = Hearing()
    first = sites.hear()[3]
    sites.overlay = next_round(
        sites.overlay,
        Facts(
            {
                serial: replace(site, prefixes=site.prefixes[:0]) if serial == 4 else site
                for serial, site in SITES.items()
            }
        ),
        OverlayPolicy(),
        1.0,
    ).overlay
    said = sites.hear()[3]
    assert said.tunnels == first.tunnels
    assert routed(first) - routed(said) == {*SITES[4].prefixes}


def routed(wanted: Wanted) -> set[Prefix]:
    return {prefix for route in wanted.routes for prefix in route.prefixes}
