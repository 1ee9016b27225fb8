"""Hosts behind the bridges of two sites are in one fabric, through tunnels and never without them.

One lab for all; each test leaves it whole, and the last one takes a site away.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from mininet_topos.handles import LabError
from mininet_topos.overlay.flow import Receiver, flow
from mininet_topos.overlay.world import ENVIRONMENT
from tests.system.frames import ARP, BROADCAST, arp_request, ears, frame, send, settle
from tests.system.vte.joined_world import BLUE, BRIDGES, HOSTS, RED, JoinedWorld, joined_world
from tests.system.vte.overlay_world import RELAY, figure
from tests.system.waiting import wait_until
from vte_agent.tables import names_of

CAPACITY_MBPS = 50.0
"""Said of uplinks; that the link through them carries as much, nobody says."""
EVERYBODY = (*HOSTS["ber"], *HOSTS["muc"])
IN_RED, IN_BLUE = ("b1", "b2"), ("m1", "m2")
"""The parts of both that become one segment: each at a site of its own."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JoinedWorld]:
    with joined_world(tmp_path_factory.mktemp("joined")) as made:
        try:
            wait_joined(made)
            made.announce()
            made.put_vnets()
            wait_until(lambda: pings(made, "b1", "m3"), 10.0, "networks reach from site to site")
            yield made
        finally:
            sys.stdout.write(made.log_tail())


@pytest.fixture(autouse=True)
def _nothing_in_the_clear(world: JoinedWorld) -> Iterator[None]:
    yield
    for stitch in world.ask("/stitches"):
        if stitch["state"] not in ("terminated", "rejected"):
            world.delete(stitch["id"])
    assert world.ear.heard() == 0, "packets of the inside crossed the internet unencrypted"


def wait_joined(world: JoinedWorld, within_s: float = 45.0) -> None:
    wait_until(world.bridged, within_s, lambda: f"not joined: {world.links()} {world.describe()}", poll_s=0.1)
    for site, uplink in product(BRIDGES, ("up0", "up1")):
        world.call("PUT", f"/overlay/sites/{site}/uplinks/{uplink}", json={"capacity_mbps": CAPACITY_MBPS})
    wait_until(
        lambda: [link["capacity_mbps"] for link in world.links()] == [CAPACITY_MBPS] * 2, 15, lambda: world.links()
    )


def pings(world: JoinedWorld, source: str, target: str, *, size: int = 56, wait_s: int = 1) -> bool:
    words = ["ping", "-n", "-c1", f"-W{wait_s}", "-M", "do", "-s", str(size), world.behind(target).ip]
    try:
        world.behind(source).enclosure.run(words)
    except LabError:
        return False
    return True


@contextmanager
def steady(world: JoinedWorld, source: str, target: str, port: int = 7001) -> Iterator[Receiver]:
    """A UDP packet every 5 ms between two hosts, as long as the body runs."""
    one, other = world.behind(source), world.behind(target)
    with flow(one.enclosure, one.ip, other.enclosure, other.ip, port, ENVIRONMENT) as found:
        wait_until(lambda: len(found.read()) > 40, 10, lambda: f"no packet comes: {seen(world, source, target)}")
        found.forget()
        yield found


def seen(world: JoinedWorld, *hosts: str) -> list[str]:
    """Where the controller sees them, and whom they know."""
    places = [f"{one['mac']} {one['dpid']}:{one['port']}" for one in world.ask("/hosts")]
    return [*places, *(world.behind(name).enclosure.run(["ip", "neigh"]) for name in hosts)]


def more(receiver: Receiver) -> None:
    seen = len(receiver.read())
    wait_until(lambda: len(receiver.read()) > seen + 60, 10, "no packet comes any more")


def carrier(world: JoinedWorld) -> str | None:
    """The tunnel that the link takes from ber."""
    has, (link,) = world.has("ber"), world.wanted("ber")["links"]
    routes = has.routes if has else ()
    return next((one.tunnel for one in routes if f"{link['remote']}/32" in map(str, one.prefixes)), None)


def secret(source: str = "b1", destination: str = "m3") -> dict[str, object]:
    return {"source": source, "destination": destination, "bandwidth_mbps": 1.0, "encrypted": True}


def test_a_network_reaches_from_site_to_site_and_no_further(world: JoinedWorld) -> None:
    assert pings(world, "m3", "b2") and pings(world, "b3", "m1")
    assert not pings(world, "b1", "m1") and not pings(world, "m2", "b2")
    # As long as hosts send them, though no tunnel has room for that in one piece.
    assert pings(world, "b1", "m3", size=1472)


def test_hosts_of_two_networks_at_two_sites_are_joined_by_a_segment(world: JoinedWorld) -> None:
    sides = {"source": {"vnet": "red", "hosts": IN_RED}, "destination": {"vnet": "blue", "hosts": IN_BLUE}}
    stitch = world.make({"kind": "segment", "bandwidth_mbps": 1.0, "encrypted": True, **sides})
    for a in IN_RED:
        for b in IN_BLUE:
            wait_until(lambda a=a, b=b: pings(world, a, b), 5.0, f"{a} reaches {b}")  # type: ignore[misc]
    assert not pings(world, "b1", "b3") and not pings(world, "m1", "m3")
    handles = {name: world.behind(name).handle for name in EVERYBODY}
    with ears(*handles.values()) as heard:
        for source in ("b1", "m2"):
            own, others = (RED, IN_BLUE) if source in RED else (BLUE, IN_RED)
            send(handles[source], frame(handles[source].mac, BROADCAST))
            expected = {name: int(name in {*own, *others} - {source}) for name in EVERYBODY}
            assert settle(heard) == expected, source
            for ear in heard.values():
                ear.heard.clear()
    asker = handles["b1"]
    with ears(asker, eth_type=ARP) as answers:
        send(asker, arp_request(asker.mac, asker.ip, handles["m2"].ip))
        assert settle(answers) == {"b1": 1}
    world.delete(stitch["id"])
    wait_until(lambda: not pings(world, "b1", "m2"), 5.0, "the segment is gone")


def test_a_stitch_across_sites_goes_on_when_an_uplink_is_cut(world: JoinedWorld) -> None:
    stitch = world.make(secret())
    assert [hop["dpid"] for hop in stitch["path"]] == [f"{BRIDGES[site]:016x}" for site in ("ber", "muc")]
    taken = carrier(world)
    uplink = next(one["uplink"] for one in world.wanted("ber")["tunnels"] if one["name"] == taken)
    with steady(world, "b1", "m3") as there, steady(world, "m3", "b1", 7002) as back:
        world.underlay.link("ber", uplink).cut()
        try:
            wait_until(lambda: carrier(world) not in (taken, None), 5, lambda: world.describe())
            for receiver in (there, back):
                more(receiver)
                figure("silence_ms", receiver.longest_silence_s() * 1e3)
                assert receiver.longest_silence_s() < 0.5
            assert world.stitch(stitch["id"])["state"] == "up"
            assert world.bridged()
        finally:
            world.underlay.link("ber", uplink).restore()


def test_a_link_goes_by_a_relay_where_nothing_else_leads_to_the_other_site(world: JoinedWorld) -> None:
    """One of two sites that is a hub itself hands packets to another hub only by the controller's word."""
    stitch, relay = world.make(secret()), world.serials()[RELAY]
    peers = {one["name"]: one["peer"] for one in world.wanted("ber")["tunnels"]}
    direct = {name for name, peer in peers.items() if peer == world.serials()["muc"]}
    with steady(world, "b1", "m3") as there, steady(world, "m3", "b1", 7002) as back:
        world.underlay.part("ber", "muc")
        try:
            wait_until(lambda: peers.get(carrier(world) or "") == relay, 10, lambda: world.describe())
            for receiver in (there, back):
                more(receiver)
                figure("silence_ms", receiver.longest_silence_s() * 1e3)
                assert receiver.longest_silence_s() < 4
            for site in ("ber", "muc"):
                assert {world.up(site)[name] for name in direct} == {"down"}
            assert pings(world, "b1", "m3", size=1472)
            assert world.stitch(stitch["id"])["state"] == "up" and world.bridged()
        finally:
            world.underlay.part("ber", "muc", apart=False)
    wait_until(lambda: set(world.up("ber").values()) == {"up"}, 15, lambda: world.describe())


def test_an_agent_that_is_killed_and_comes_back_does_not_touch_the_link(world: JoinedWorld) -> None:
    stitch, before = world.make(secret()), world.bridges["muc"].ports()
    with steady(world, "b1", "m3") as there:
        world.signal_agent("muc", signal.SIGKILL)
        world.start_agent("muc")
        wait_until(lambda: (has := world.has("muc")) and has.links and has.links[0].port, 20, world.log_tail)
        more(there)
        assert there.lost() == 0
    assert world.bridges["muc"].ports() == before
    assert world.stitch(stitch["id"])["state"] == "up" and world.bridged()


def planned(world: JoinedWorld, site: str) -> list[tuple[str, str, str]]:
    """What `vte-agent plan` says that would change at a site."""
    bridge, uplinks = world.bridges[site], [f"--uplink=up{number}=up{number}" for number in range(2)]
    words = ["plan", "--json", "--state", str(world.agent_state(site)), *uplinks]
    words += ["--bridge", bridge.name, "--ovsdb", bridge.database]
    inside = world.at(site).enter([sys.executable, "-m", "vte_agent", *words])
    done = subprocess.run(inside, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=True)
    said = json.loads(done.stdout)
    assert not said["problems"], said["problems"]
    return [(one["do"], one["kind"], one["name"]) for one in said["changes"] if one["do"] != "keep"]


def test_a_plan_says_what_an_agent_that_was_killed_would_put_right_and_nothing_once_it_has(
    world: JoinedWorld,
) -> None:
    wait_until(lambda: planned(world, "muc") == [], 10, lambda: planned(world, "muc"))
    world.signal_agent("muc", signal.SIGKILL)
    (link,) = (name for name in world.bridges["muc"].ports() if name not in HOSTS["muc"])
    world.bridges["muc"].vsctl("del-port", link)
    tables = world.at("muc").run(["nft", "list", "tables"]).split()
    links, mss = (next(filter(tables.__contains__, names_of(f"lockstitch_{what}"))) for what in ("links", "mss"))
    for words in (
        f"nft delete table inet {mss}",
        f"nft add rule inet {links} passing counter",
        "ip rule del pref 7601",
        "ip route del unreachable 10.1.0.0/24 table 7600 metric 4000",
    ):
        world.at("muc").run(words.split())
    assert sorted(planned(world, "muc")) == [
        ("change", "table", "lockstitch_links"),
        ("make", "port", link),
        ("make", "route", "10.1.0.0/24"),
        ("make", "rule", "7601"),
        ("make", "table", "lockstitch_mss"),
    ]
    world.start_agent("muc")
    wait_until(lambda: planned(world, "muc") == [], 20, lambda: planned(world, "muc"))
    wait_joined(world)


def test_a_controller_that_starts_again_finds_its_stitch_across_sites_as_it_was(world: JoinedWorld) -> None:
    stitch = world.make(secret())
    with steady(world, "b1", "m3") as there:
        world.kill_controller()
        world.start_controller()
        wait_until(lambda: world.stitch(stitch["id"])["state"] == "up", 10, lambda: world.stitch(stitch["id"]))
        wait_until(world.bridged, 15, lambda: world.links())
        more(there)
        assert there.lost() == 0


def test_without_any_tunnel_nothing_leaves_a_site(world: JoinedWorld) -> None:
    for uplink in ("up0", "up1"):
        world.underlay.link("ber", uplink).cut()
    try:
        wait_until(lambda: set(world.up("ber").values()) == {"down"}, 5, lambda: world.describe())
        assert not pings(world, "m3", "b1") and not pings(world, "b1", "m3")
        # Not even where somebody takes the agent's routes away: the packets of the link go nowhere then.
        tables = "ip -4 route flush table 7600; ip -4 route get 100.111.255.254; ip -4 route get 100.111.255.253"
        said = world.at("muc").run(["sh", "-c", tables])
        assert "via 198.18" in said, said
        assert not pings(world, "m3", "b1")
        assert world.ear.heard() == 0
    finally:
        for uplink in ("up0", "up1"):
            world.underlay.link("ber", uplink).restore()
    wait_until(lambda: pings(world, "b1", "m3"), 20, lambda: world.describe())
    wait_joined(world)


def test_what_has_to_be_encrypted_ends_with_the_agent_that_sees_to_it(world: JoinedWorld) -> None:
    stitch = world.make(secret())
    world.signal_agent("muc", signal.SIGTERM)
    after = world.listing("muc")
    assert after == world.clean["muc"], {
        k: (v, world.clean["muc"][k]) for k, v in after.items() if v != world.clean["muc"][k]
    }
    assert set(world.bridges["muc"].ports()) == set(HOSTS["muc"])
    wait_until(lambda: world.stitch(stitch["id"])["state"] == "failed", 15, lambda: world.stitch(stitch["id"]))
    wait_until(lambda: not world.links(), 15, lambda: world.links())
    with pytest.raises(LabError, match="encrypted"):
        world.make(secret("m3", "b2"))
    world.start_agent("muc")
    wait_joined(world)
    wait_until(lambda: world.stitch(stitch["id"])["state"] == "up", 30, lambda: world.stitch(stitch["id"]))


def test_a_site_that_is_revoked_is_out_of_the_fabric_within_two_seconds(world: JoinedWorld) -> None:
    stitch = world.make(secret())
    serial = world.serials()["muc"]
    with steady(world, "b1", "m3") as there, steady(world, "m3", "b1", 7002) as back:
        began_s = time.time()
        world.operator.revoke(serial)
        wait_until(lambda: set(world.bridges["ber"].ports()) == set(HOSTS["ber"]), 5, lambda: world.describe())
        for receiver in (there, back):
            last_s = max(one.at_s for one in receiver.read())
            figure("revoked_ms", (last_s - began_s) * 1e3)
            assert last_s - began_s < 2
    wait_until(lambda: world.stitch(stitch["id"])["state"] == "failed", 15, lambda: world.stitch(stitch["id"]))
    assert "encrypt" in world.stitch(stitch["id"])["reason"] or world.links() == []
