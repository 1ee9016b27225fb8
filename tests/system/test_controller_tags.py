"""Hosts that send with VLAN tags of their own: carried as they are, answered, and held to what is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mininet_topos.topology import line
from tests.system.controller import Fabric, running_fabric
from tests.system.frames import BROADCAST, arp_request, frame, send
from tests.system.ip_frames import ip_frame
from tests.system.tagged import Heard, TagEar, tagged
from tests.system.test_controller_spoofing import dropped
from tests.system.waiting import wait_until

ONE, TWO, FAR = "hs1", "hs2", "hs3"
TAGS = {ONE: 10, TWO: 20, FAR: 10}


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """A segment of two networks: two hosts in red, one in blue, each behind a tag; one address is declared."""
    with running_fabric(line(3), tmp_path_factory.mktemp("tags") / "state") as fabric:
        fabric.wait_for_links("path_latency_ms")
        api, hosts = fabric.controller.api, {name: fabric.lab.host(name) for name in TAGS}
        members = {name: {"name": name, "mac": host.mac} for name, host in hosts.items()}
        red = [{**members[ONE], "ips": [hosts[ONE].ip]}, members[TWO]]
        assert api.put("/v1/vnets/red", json={"hosts": red}).is_success
        assert api.put("/v1/vnets/blue", json={"hosts": [members[FAR]]}).is_success
        segment = {
            "kind": "segment",
            "source": {"vnet": "red"},
            "destination": {"vnet": "blue"},
            "bandwidth_mbps": 1,
        }
        answer = api.post("/v1/stitches", params={"wait": "up", "wait_s": 10}, json=segment)
        assert answer.status_code == 201, answer.text
        yield fabric


@contextmanager
def hearing(fabric: Fabric, at: str, source: str) -> Iterator[TagEar]:
    ear = TagEar(fabric.lab.host(at), fabric.lab.host(source).mac)
    try:
        yield ear
    finally:
        ear.close()


def say(fabric: Fabric, source: str, target: str, *tags: int) -> None:
    mac = BROADCAST if target == BROADCAST else fabric.lab.host(target).mac
    send(fabric.lab.host(source), tagged(frame(fabric.lab.host(source).mac, mac), *tags))


@pytest.mark.parametrize("cast", ["to one", "to all"])
@pytest.mark.parametrize(("source", "target"), [(ONE, FAR), (TWO, FAR), (FAR, ONE), (FAR, TWO), (ONE, TWO)])
def test_frames_come_out_with_the_tag_they_went_in_with(
    fabric: Fabric, source: str, target: str, cast: str
) -> None:
    with hearing(fabric, target, source) as ear:
        say(fabric, source, target if cast == "to one" else BROADCAST, TAGS[source])
        sent = frame(fabric.lab.host(source).mac, fabric.lab.host(target).mac if cast == "to one" else BROADCAST)
        wait_until(lambda: bool(ear.listen()), 2.0, "it came through")
        assert ear.listen() == [Heard(TAGS[source], sent)]


def ask(fabric: Fabric, source: str, target: str, *tags: int) -> None:
    one = fabric.lab.host(source)
    send(one, tagged(arp_request(one.mac, one.ip, fabric.lab.host(target).ip), *tags))


def announce(fabric: Fabric, name: str) -> None:
    ask(fabric, name, name, TAGS[name])


def test_a_question_is_answered_behind_the_tag_it_was_asked_behind(fabric: Fabric) -> None:
    announce(fabric, FAR)
    with hearing(fabric, ONE, FAR) as ear:
        ask(fabric, ONE, FAR, TAGS[ONE])
        wait_until(lambda: bool(ear.listen()), 2.0, "answered")
        assert {one.vid for one in ear.listen()} == {TAGS[ONE]}


def test_a_host_behind_another_tag_is_not_there_and_the_log_says_why(fabric: Fabric) -> None:
    announce(fabric, FAR)
    with hearing(fabric, TWO, FAR) as ear:
        ask(fabric, TWO, FAR, TAGS[TWO])
        mac = fabric.lab.host(FAR).mac
        wait_until(lambda: f"event=other_tag asked={mac}" in fabric.controller.log(), 2.0, "said")
        assert ear.listen() == []


@pytest.mark.parametrize(
    "tags", [(), (10,), (10, 20), (0, 10)], ids=["untagged", "tagged", "twice", "by priority"]
)
def test_no_tag_hides_an_address_that_is_not_the_senders(fabric: Fabric, tags: tuple[int, ...]) -> None:
    one, two = fabric.lab.host(ONE), fabric.lab.host(TWO)
    before = dropped(fabric, "s1")
    with hearing(fabric, TWO, ONE) as ear:
        send(one, tagged(ip_frame(one, two, 17, 1, 2, src_ip="10.0.0.99"), *tags))
        send(one, tagged(arp_request(one.mac, "10.0.0.99", two.ip), *tags))
        wait_until(lambda: dropped(fabric, "s1") - before == 2, 3.0, "both counted")
        assert ear.listen() == []
