"""The links of a node's bridge: made before others go, kept inside tunnels, and taken away to the last piece."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.fake_nft import FakeNft
from vte_agent.bridging import guard, keeper, openvswitch
from vte_agent.bridging.difference import LinkDevice, Make, Place, Plug, PlugIn, PullOut, Remove, Step, steps
from vte_agent.bridging.keeper import AGAIN_EVERY_S, Bridging
from vte_agent.bridging.openvswitch import BridgeFailed, BridgeNow, NoBridge, parsed
from vte_agent.bridging.vxlan import LinkFailed, link_device
from vte_agent.protocol.has import BridgeReport, LinkReport
from vte_agent.protocol.wanted import Address, WantedLink
from vte_agent.tunnels.devices import is_our_name

HERE, ELSEWHERE = Place("br0", "unix:/run/db.sock"), Place("br1", "unix:/run/db.sock")
SAID = (
    '{"data":[["br0",65534,["set",[]],["map",[]]],["lvx",2,["set",[]],["map",[["lockstitch-link","l1-2-5"]]]],'
    '["lvy",["set",[]],"no such device",["map",[["lockstitch-link","l1-3-6"]]]],["h1",1,["set",[]],["map",[]]],'
    '["lvz",9,["set",[]],["map",[["lockstitch-link","l8-9-7"]]]]],"headings":["name","ofport","error",'
    '"external_ids"]}\n"00000000000000be"\nh1\nlvx\nlvy\n'
)


def link(number: int, **changed: Any) -> WantedLink:
    one = WantedLink(
        name=f"l1-{number}-{number}",
        vni=number,
        local=IPv4Address("100.111.0.1"),
        remote=IPv4Address("100.111.1.0") + number,
    )
    return one.model_copy(update=changed)


def name_of(one: WantedLink) -> str:
    return f"lv{one.name}"


def device_of(one: WantedLink, place: Place | None = HERE, *, whole: bool = True) -> LinkDevice:
    return LinkDevice(name_of(one), one.name, one.vni, one.local, one.remote, place, whole)


class Node:
    """Devices, ports and packets' way in and out, in memory: stands for the kernel and for Open vSwitch."""

    def __init__(self, nft: FakeNft) -> None:
        self.nft = nft
        self.devices: dict[str, LinkDevice] = {}
        self.plugs: dict[Place, dict[str, Plug]] = {HERE: {}, ELSEWHERE: {}}
        self.guarded: tuple[WantedLink, ...] = ()
        self.anchors: frozenset[Address] = frozenset()
        self.done: list[str] = []
        self.read_fails: BridgeFailed | None = None
        self.make_fails = self.plug_fails = ""

    # the kernel

    def found(self) -> dict[str, LinkDevice]:
        return dict(self.devices)

    def make(self, one: WantedLink, device: str, place: Place) -> None:
        if self.make_fails:
            raise LinkFailed(self.make_fails)
        assert one in self.guarded, "it would send before anything keeps it inside the tunnels"
        self.devices[device] = replace(device_of(one, place), device=device)
        self.done.append(f"make {one.name}")

    def remove(self, gone: LinkDevice, _others: Sequence[LinkDevice]) -> None:
        assert not any(gone.device in ports for ports in self.plugs.values()), "it is still a port"
        del self.devices[gone.device]
        self.done.append(f"remove {gone.name}")

    def close(self) -> None: ...

    # Open vSwitch

    def read(self, place: Place) -> BridgeNow:
        if self.read_fails is not None:
            raise self.read_fails
        return BridgeNow(place.bridge, 7, dict(self.plugs[place]))

    def plug_in(self, place: Place, device: str, name: str) -> None:
        if self.plug_fails:
            raise BridgeFailed(self.plug_fails)
        assert device in self.devices
        self.plugs[place][device] = Plug(device, name, len(self.done) + 1)
        self.done.append(f"plug {name}")

    def pull_out(self, place: Place, device: str) -> None:
        plug = self.plugs[place].pop(device, None)
        self.done.append(f"pull {plug.name if plug else device}")

    # nftables

    def guard(self, guarded: guard.Guarded) -> str:
        assert self.anchors <= guarded.anchors, "somebody may still send there"
        if not self.nft.refuses_loading:
            self.guarded, self.anchors = guarded.links, guarded.anchors
        return ""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(FakeNft(monkeypatch))
    monkeypatch.setattr(keeper, "LinkDevices", lambda: made)
    monkeypatch.setattr(keeper, "link_device", lambda one, _node: name_of(one))
    for name in ("read", "plug_in", "pull_out"):
        monkeypatch.setattr(openvswitch, name, getattr(made, name))
    monkeypatch.setattr(guard, "rules", made.guard)
    return made


def test_a_link_is_made_plugged_in_reported_and_taken_away_to_the_last_piece(node: Node) -> None:
    bridging = Bridging("1", HERE)
    bridging.want(None, 0.0)
    assert bridging.bridge == BridgeReport(name="br0", dpid=7) and not node.done
    bridging.want((link(2),), 1.0)
    assert node.done == ["make l1-2-2", "plug l1-2-2"]
    bridging.want((link(2),), 2.0)
    assert bridging.links == (LinkReport(name="l1-2-2", port=2),) and not bridging.problems
    bridging.want((link(2),), 60.0)
    assert len(node.done) == 2, "nothing is done that is done"
    bridging.want((), 61.0)
    bridging.want((), 62.0)
    assert node.done[2:] == ["pull l1-2-2", "remove l1-2-2"]
    assert (node.devices, node.plugs[HERE], node.guarded) == ({}, {}, ())


def test_a_new_link_is_there_before_an_old_one_goes(node: Node) -> None:
    bridging = Bridging("1", HERE)
    bridging.want((link(2),), 0.0)
    bridging.want((link(3),), 10.0)
    assert node.done[2:] == ["make l1-3-3", "plug l1-3-3", "pull l1-2-2", "remove l1-2-2"]


def test_what_an_earlier_run_has_left_is_found_and_used_or_taken_away(node: Node) -> None:
    Bridging("1", HERE).want((link(2), link(3)), 0.0)
    node.done.clear()
    node.anchors = frozenset()
    after = Bridging("1", HERE)
    after.want((link(2),), 0.0)
    assert node.done == ["pull l1-3-3", "remove l1-3-3"]
    assert after.links == (LinkReport(name="l1-2-2", port=2),)
    assert node.anchors == {link(2).local, link(2).remote, link(3).remote}
    node.anchors = frozenset()
    # An agent that was given no bridge knows by the device where it is plugged in.
    Bridging("1").want((), 0.0)
    assert not node.devices and not node.plugs[HERE]


def test_without_what_keeps_it_inside_the_tunnels_no_link_is_made(node: Node) -> None:
    bridging = Bridging("1", HERE)
    node.nft.refuses_loading = "nft: no"
    bridging.want((link(2),), 0.0)
    assert not node.done and "nothing keeps inside" in bridging.problems[0]
    node.nft.refuses_loading = ""
    bridging.want((link(2),), AGAIN_EVERY_S)
    assert node.done and not bridging.problems


def test_while_open_vswitch_is_away_all_stays_as_it_is_and_is_said_as_it_was(node: Node) -> None:
    bridging = Bridging("1", HERE)
    for now_s in (0.0, 1.0):
        bridging.want((link(2),), now_s)
    before = bridging.links
    node.read_fails = BridgeFailed("does Open vSwitch run here?")
    bridging.want((link(2),), 10.0)
    assert bridging.bridge and bridging.links == before and "Open vSwitch run" in bridging.problems[0]
    fresh = Bridging("1", HERE)
    fresh.want((), 10.0)
    assert name_of(link(2)) in node.devices, "it may be what will be wanted"
    node.read_fails = NoBridge("there is no bridge br0")
    node.plugs[HERE].clear()
    bridging.want((link(2),), 20.0)
    assert bridging.bridge is None and not node.devices


def test_what_fails_is_named_and_tried_again_and_does_not_hold_up_the_others(node: Node) -> None:
    bridging = Bridging("1", HERE)
    node.make_fails = "cannot make device"
    bridging.want((link(2),), 0.0)
    bridging.want((link(2),), 1.0)
    assert bridging.links[0].why == "cannot make device" and bridging.problems == ("l1-2-2: cannot make device",)
    node.make_fails = ""
    bridging.want((link(2), link(3)), 2.0)
    assert node.done == ["make l1-3-3", "plug l1-3-3"]
    bridging.want((link(2), link(3)), AGAIN_EVERY_S)
    assert node.done[2:] == ["make l1-2-2", "plug l1-2-2"] and not bridging.problems


def test_a_port_that_went_wrong_is_plugged_in_once_more(node: Node) -> None:
    bridging = Bridging("1", HERE)
    bridging.want((link(2),), 0.0)
    node.plugs[HERE][name_of(link(2))] = Plug(name_of(link(2)), "l1-2-2", None, "could not open network device")
    bridging.want((link(2),), 10.0)
    assert node.done[2:] == ["plug l1-2-2"]


def test_links_without_a_bridge_are_a_problem_with_its_remedy(node: Node) -> None:
    bridging = Bridging("1")
    bridging.want((link(2),), 0.0)
    assert not node.done and "--bridge" in bridging.problems[0] and bridging.bridge is None


LINKS = st.lists(st.integers(2, 5), unique=True, max_size=4).map(lambda numbers: [link(one) for one in numbers])


@given(
    wanted=LINKS,
    there=LINKS,
    plugged=st.sets(st.integers(2, 5)),
    odd=st.sets(st.integers(2, 5)),
    place=st.sampled_from([HERE, ELSEWHERE, None]),
)
def test_whatever_there_is_the_steps_lead_to_what_is_wanted_and_then_there_are_none(
    wanted: list[WantedLink],
    there: list[WantedLink],
    plugged: set[int],
    odd: set[int],
    place: Place | None,
) -> None:
    """odd: of a link with another VNI, or not whole."""
    devices = {
        name_of(one): device_of(
            one.model_copy(update={"vni": 99}) if one.vni in odd and one.vni % 2 else one,
            place or HERE,
            whole=one.vni not in odd,
        )
        for one in there
    }
    ports = {
        name_of(link(one)): Plug(name_of(link(one)), link(one).name, one, "bad" if one in odd else "")
        for one in plugged
    }
    plugs = {name: plug for name, plug in ports.items() if place is not None}

    def carry_out(step: Step) -> None:
        match step:
            case Make(one, device):
                assert place is not None
                devices[device] = device_of(one, place)
            case PlugIn(one, device):
                assert device in devices
                plugs[device] = Plug(device, one.name, 1)
            case PullOut(device):
                plugs.pop(device, None)
            case Remove(gone):
                assert gone.device not in plugs
                del devices[gone.device]

    for step in steps(wanted, place, devices, plugs, name_of):
        carry_out(step)
    goals = {name_of(one): device_of(one, place) for one in wanted} if place is not None else {}
    assert devices == goals
    assert plugs.keys() == goals.keys() and not any(plug.error for plug in plugs.values())
    assert steps(wanted, place, devices, plugs, name_of) == ()


def test_what_open_vswitch_says_is_read_as_it_is() -> None:
    assert parsed("br0", SAID) == BridgeNow(
        "br0", 0xBE, {"lvx": Plug("lvx", "l1-2-5", 2), "lvy": Plug("lvy", "l1-3-6", None, "no such device")}
    ), "a port of another bridge is none of this one"


@given(st.text(max_size=80), st.integers(0, len(SAID)))
def test_whatever_open_vswitch_says_is_a_bridge_or_an_error(text: str, place: int) -> None:
    for said in (text, SAID[:place] + text + SAID[place + len(text) :]):
        try:
            parsed("br0", said)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            continue


def test_only_tunnels_carry_a_link_and_only_from_its_other_end() -> None:
    guarded = guard.Guarded(guard.NO_SITE, (link(2),), frozenset({link(2).remote, link(3).local}))
    assert guard.rules(guarded) == (
        " chain arriving {\n"
        "  type filter hook input priority -150;\n"
        '  iifname "ls*" ip saddr 100.111.1.2 ip daddr 100.111.0.1 udp dport 14790 @th,96,24 2 accept\n'
        "  udp dport 14790 drop\n"
        " }\n"
        " chain leaving {\n"
        "  type filter hook postrouting priority -150;\n"
        '  oifname != "ls*" ip daddr 100.111.0.1 udp dport 14790 drop\n'
        '  oifname != "ls*" ip daddr 100.111.1.2 udp dport 14790 drop\n'
        " }\n"
    )


def test_what_came_by_a_tunnel_leaves_by_an_uplink_only_for_the_sites_own_networks() -> None:
    site = guard.Site(("eth0", "wwan0"), (ip_network("10.1.0.0/24"), ip_network("10.9.0.0/16")))
    lines = guard.rules(guard.Guarded(site, (), frozenset())).splitlines()
    assert lines[lines.index(" chain passing {") + 2 :][:4] == [
        '  iifname != "ls*" accept',
        '  oifname != { "eth0", "wwan0" } accept',
        "  ip daddr != { 10.1.0.0/24, 10.9.0.0/16 } drop",
        "  meta nfproto ipv6 drop",
    ]


def test_a_chain_with_nothing_to_say_is_on_no_packets_way() -> None:
    nobody = guard.rules(guard.Guarded(guard.NO_SITE, (), frozenset()))
    assert re.findall(r"chain (\w+)", nobody) == ["arriving"] and "  udp dport 14790 drop" in nobody
    site = guard.Site(("eth0",), (ip_network("10.1.0.0/24"),))
    assert re.findall(r"chain (\w+)", guard.rules(guard.Guarded(site, (), frozenset()))) == ["arriving", "passing"]
    # What stays of a link that is gone is still kept in.
    gone = guard.rules(guard.Guarded(site, (), frozenset({link(2).local})))
    assert re.findall(r"chain (\w+)", gone) == ["arriving", "passing", "leaving"]


def test_the_device_of_a_link_is_no_tunnels_device() -> None:
    devices = {link_device(link(number), node) for number in range(2, 9) for node in ("1", "2")}
    assert len(devices) == 14 and all(len(device) == 15 for device in devices)
    assert not any(is_our_name(device) or device.startswith("ls") for device in devices)


@pytest.mark.parametrize(
    "changed",
    [{"vni": 0}, {"vni": 1 << 24}, {"remote": "100.111.0.1"}, {"remote": "2001:db8::1"}, {"name": "l 1"}],
)
def test_a_link_that_makes_no_sense_is_no_message(changed: dict[str, Any]) -> None:
    plain = link(2).model_dump(mode="json")
    assert WantedLink.model_validate(plain) == link(2)
    with pytest.raises(ValidationError):
        WantedLink.model_validate({**plain, **changed})
