"""What an agent has plugged into a real bridge can be taken away whatever becomes of it, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mininet_topos.overlay.bridge import SiteBridge
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.world import ENVIRONMENT

LINKS = """
import os, signal, sys, time
from ipaddress import ip_address
from vte_agent.bridging.difference import Place
from vte_agent.bridging.keeper import Bridging
from vte_agent.protocol.wanted import WantedLink

def link(number):
    here, there = ip_address("100.111.0.1"), ip_address("100.111.0.2") + number
    return WantedLink(name=f"l1-{number}", vni=number, local=here, remote=there)

_, database, numbers, end = sys.argv
links = tuple(link(int(number)) for number in numbers)
node = Bridging("1", Place("br0", database))
give_up_s = time.monotonic() + 10
while not node.links or any(one.port is None for one in node.links):
    assert time.monotonic() < give_up_s, (node.links, node.problems)
    node.want(links, time.monotonic())
    time.sleep(0.05)
print(*(one.port for one in node.links), flush=True)
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
left = node.clear() if end == "cleared" else ()
assert not left, left
"""
"""Makes links of these numbers as the hands do; then it is killed, lets all stay, or clears all."""


@pytest.fixture
def place() -> Iterator[Enclosure]:
    enclosure = Enclosure("ber")
    yield enclosure
    enclosure.close()


@pytest.fixture
def bridge(place: Enclosure) -> Iterator[SiteBridge]:
    """With what others have there: ports, flows, a VXLAN named like one of ours, an address."""
    with SiteBridge(place, 7) as made:
        made.add_host("h1", "10.0.0.1/24")
        made.vsctl("add-port", made.name, "lvmine", "--", "set", "Interface", "lvmine", "type=internal")
        made.vsctl("add-port", made.name, "vx", "--", "set", "Interface", "vx", "type=vxlan", "options:key=1")
        made.ofctl("add-flow", "cookie=0x7,priority=9,in_port=1,actions=drop")
        place.run(["ip", "link", "add", "lvaaaaaaaaaaaaa", "type", "vxlan", "id", "1", "dstport", "4789"])
        place.run(["ip", "address", "add", "100.111.9.9/32", "dev", "lo"])
        yield made


def found(bridge: SiteBridge) -> list[str]:
    """All ports, flows, devices and addresses that there are."""
    flows = [line.split("cookie=")[1].split(",")[0] for line in bridge.ofctl("dump-flows").splitlines()[1:]]
    devices = bridge.place.run(["ip", "-oneline", "link"]).splitlines()
    return [
        *sorted(bridge.vsctl("list-ports", bridge.name).split()),
        *flows,
        *sorted(line.split(": ")[1].split("@")[0] for line in devices),
        *sorted(line.split()[3] for line in bridge.place.run(["ip", "-oneline", "addr"]).splitlines()),
    ]


def links(bridge: SiteBridge, numbers: str, end: str) -> None:
    words = bridge.place.enter([sys.executable, "-c", LINKS, bridge.database, numbers, end])
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    assert len(done.stdout.split()) == len(numbers), done.stderr
    assert (done.returncode == 0) is (end != "killed"), done.stderr


def clean(bridge: SiteBridge, state: Path) -> str:
    words = bridge.place.enter([sys.executable, "-m", "vte_agent", "clean", "--ovsdb", bridge.database])
    words += ["--state", str(state)]
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=True).stdout


def test_what_an_agent_that_was_killed_has_plugged_in_goes_with_clean_and_what_others_have_stays(
    bridge: SiteBridge, tmp_path: Path
) -> None:
    before = found(bridge)
    links(bridge, "12", "killed")
    # The next run is told of one of these links only, and is killed too.
    links(bridge, "23", "killed")
    assert len(found(bridge)) == len(before) + 2 * 2 + 1, "two ports, two devices, one address"
    assert len(clean(bridge, tmp_path / "state").split(", ")) == 2
    assert found(bridge) == before
    assert "nothing was left" in clean(bridge, tmp_path / "state")


def test_one_that_comes_back_after_it_was_killed_takes_all_away_when_it_is_told_to_stop(
    bridge: SiteBridge,
) -> None:
    before = found(bridge)
    links(bridge, "12", "killed")
    links(bridge, "3", "cleared")
    assert found(bridge) == before


@pytest.mark.parametrize("by", ["clean", "the next run"])
def test_ports_whose_devices_went_with_a_restart_of_the_machine_go_too(
    bridge: SiteBridge, tmp_path: Path, by: str
) -> None:
    before = found(bridge)
    links(bridge, "12", "killed")
    # A restart takes devices and addresses away; the database of Open vSwitch is on the disk.
    for line in bridge.place.run(["ip", "-oneline", "link", "show", "group", "27764"]).splitlines():
        bridge.place.run(["ip", "link", "del", line.split(": ")[1]])
    bridge.place.run(["ip", "address", "del", "100.111.0.1/32", "dev", "lo"])
    assert len(found(bridge)) == len(before) + 2
    if by == "clean":
        clean(bridge, tmp_path / "state")
    else:
        links(bridge, "3", "cleared")
    assert found(bridge) == before
