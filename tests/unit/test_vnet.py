"""Who a host is and where it belongs."""

import pytest

from stitching.network import Host
from stitching.vnet import DEFAULT_VNET, Directory, Member, UnknownHost, VNet

WEB = Host("02:00:00:00:00:01", 1, 1, frozenset({"10.1.0.9", "10.1.0.10"}))
DB = Host("02:00:00:00:00:02", 1, 2, frozenset({"10.2.5.1"}))
SIX = Host("02:00:00:00:00:03", 2, 1, frozenset({"fd00:1::5"}))
BARE = Host("02:00:00:00:00:04", 2, 2)
HOSTS = {host.mac: host for host in (WEB, DB, SIX, BARE)}

DIRECTORY = Directory.of(
    [
        VNet("red", (Member(WEB.mac, "Web"), Member("02:00:00:00:00:99", "ghost")), ("10.2.0.0/16",)),
        VNet("blue", (), ("10.2.5.0/24", "10.1.0.0/16", "fd00:1::/64")),
    ]
)


def test_a_claimed_mac_decides_before_any_address() -> None:
    assert DIRECTORY.vnet_of(WEB) == "red"


def test_the_most_specific_subnet_decides() -> None:
    assert DIRECTORY.vnet_of(DB) == "blue"
    assert DIRECTORY.vnet_of(Host("02:00:00:00:00:05", 1, 1, frozenset({"10.2.6.1"}))) == "red"
    assert DIRECTORY.vnet_of(SIX) == "blue"


def test_a_host_that_nobody_claims_is_in_the_default_network() -> None:
    assert DIRECTORY.vnet_of(BARE) == DEFAULT_VNET
    assert DIRECTORY.vnet_of(Host("02:00:00:00:00:05", 1, 1, frozenset({"192.0.2.1"}))) == DEFAULT_VNET


def test_a_host_is_called_by_its_name_else_its_lowest_address_else_its_mac() -> None:
    assert DIRECTORY.name_of(WEB) == "Web"
    assert Directory.of([]).name_of(WEB) == "10.1.0.9"
    assert DIRECTORY.name_of(SIX) == "fd00:1::5"
    assert DIRECTORY.name_of(BARE) == BARE.mac


@pytest.mark.parametrize(
    ("text", "host"),
    [("web", WEB), (" WEB ", WEB), ("10.1.0.10", WEB), ("FD00:1::5", SIX), (BARE.mac.upper(), BARE)],
)
def test_a_host_is_found_by_name_address_or_mac_in_any_case(text: str, host: Host) -> None:
    assert DIRECTORY.find(text, HOSTS) is host


def test_a_host_that_is_named_but_was_never_seen_is_said_to_be_so() -> None:
    with pytest.raises(UnknownHost, match="has not been seen on any port yet"):
        DIRECTORY.find("ghost", HOSTS)


def test_an_unknown_host_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownHost, match=r"no host is called 'nobody'; known hosts: .*Web"):
        DIRECTORY.find("nobody", HOSTS)
    with pytest.raises(UnknownHost, match="none yet"):
        DIRECTORY.find("nobody", {})


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            VNet("a", (Member(WEB.mac, "x"),)),
            VNet("b", (Member(WEB.mac, "y"),)),
            "MAC .* is claimed by both 'a' and 'b'",
        ),
        (VNet("a", (Member(WEB.mac, "x"),)), VNet("b", (Member(DB.mac, "X"),)), "host name x is claimed"),
        (VNet("a", (), ("10.0.0.0/8",)), VNet("b", (), ("10.0.0.0/8",)), "subnet 10.0.0.0/8 is claimed"),
        (VNet("a"), VNet("a", (Member(WEB.mac, "x"),)), "same name"),
    ],
)
def test_two_networks_cannot_claim_the_same_thing(one: VNet, other: VNet, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Directory.of([one, other])
