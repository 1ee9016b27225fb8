"""What one site says, or claims, holds up the decisions for no other."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.foreseeing import Foreseeing
from ryu_apps.overlay.members import Members
from ryu_apps.overlay.reports import Reports
from ryu_apps.overlay.surveying import Survey
from ryu_apps.store import StateStore
from stitching.overlay.rounds import Overlay
from vte_agent.protocol.has import Has, Uplink
from vte_agent.protocol.members import Member

KEY = "A" * 43 + "="


class Surveyed:
    """A survey of members that the test makes."""

    def __init__(self) -> None:
        self.members, self.reports = Members(), Reports()
        self.foreseeing = Foreseeing(lambda _: None, lambda _: None)
        self.survey = Survey(self.reports, Defined(StateStore("sqlite://")), self.foreseeing)

    def join(self, serial: int, prefix: str) -> None:
        self.members.open[serial] = Member(
            serial=serial,
            name=f"s{serial}",
            identity=KEY,
            pairing=KEY,
            prefixes=(IPv4Network(prefix),),
            not_after=2_000_000_000,
        )

    def says(self, serial: int, **uplinks: str) -> None:
        listed = tuple(Uplink(name=name, address=IPv4Address(one)) for name, one in uplinks.items())
        self.reports.has(serial, Has(generation=0, uplinks=listed), 1.0)

    def uplinks(self, serial: int) -> list[str]:
        self.survey.facts(self.members, Overlay())
        return [one.name for one in self.survey.sites[serial].uplinks]


@pytest.fixture
def surveyed() -> Iterator[Surveyed]:
    one = Surveyed()
    yield one
    one.foreseeing.stop()


def test_a_member_whose_addresses_are_anothers_is_left_out_and_others_come_and_change(surveyed: Surveyed) -> None:
    surveyed.join(1, "10.1.0.0/24")
    assert surveyed.uplinks(1) == []
    surveyed.join(2, "10.1.0.0/16")
    surveyed.join(3, "10.3.0.0/16")
    surveyed.says(1, wan="192.0.2.1")
    assert surveyed.uplinks(1) == ["wan"] and set(surveyed.survey.sites) == {1, 3}
    assert "10.1.0.0/16 of s2 overlaps" in surveyed.survey.problems[0]
    surveyed.says(1, wan="192.0.2.1", lte="192.0.2.9")
    assert surveyed.uplinks(1) == ["wan", "lte"]


def test_who_has_no_channel_can_have_been_told_what_there_was_when_it_went_and_nothing_since(
    surveyed: Surveyed,
) -> None:
    def away() -> dict[int, int]:
        return dict(surveyed.survey.facts(surveyed.members, Overlay()).away)

    surveyed.join(1, "10.1.0.0/24")
    assert away() == {1: 0}
    surveyed.reports.came(1)
    surveyed.says(1, wan="192.0.2.1")
    assert away() == {}
    surveyed.reports.silent(1, 5.0, 7)
    assert away() == {1: 7}
    surveyed.reports.came(1)
    assert away() == {}


def test_a_problem_that_is_over_is_not_said_any_more(surveyed: Surveyed) -> None:
    surveyed.join(1, "10.1.0.0/24")
    surveyed.join(2, "10.1.0.0/16")
    surveyed.uplinks(1)
    assert surveyed.survey.problems
    del surveyed.members.open[2]
    surveyed.uplinks(1)
    assert surveyed.survey.problems == ()
