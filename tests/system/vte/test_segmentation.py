"""What crosses a site's tunnel is what its filters let through: for every pair, protocol and port."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from mininet_topos.handles import HostHandle
from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure, cable
from tests.system.frames import ears, send, settle
from tests.system.ip_frames import IPV4, ip_frame
from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing

SITES = {1: "10.1.0.1", 2: "10.1.1.1", 3: "10.9.0.1"}
FAR = {11: "10.2.0.1", 12: "10.2.1.1", 13: "10.8.0.1"}
CALLS = [
    (6, 1000, 80),
    (6, 1000, 8003),
    (6, 1000, 22),
    (6, 80, 1000),
    (17, 1000, 53),
    (17, 53, 1000),
    (1, 0, 0),
    (47, 0, 0),
]

CHANGES = 10

WEB = Pattern(rule="web", allow=True, protocol=6, ports=((80, 80), (8000, 8005)))
ANSWERS = Pattern(rule="web", allow=True, protocol=6, ports=((80, 80), (8000, 8005)), reply=True)
NO_SSH = Pattern(rule="no ssh", allow=False, protocol=6, ports=((22, 22),))
ALL = Pattern(rule="all", allow=True)

FILTERS = Filters(
    standings=tuple(
        Standing(id=number, prefixes=(ip_network(f"{address.rpartition('.')[0]}.0/24"),))
        for number, address in {**SITES, **FAR}.items()
        if number not in (3, 13)
    ),
    pairs=(
        Pair(source=1, target=11, patterns=(WEB,)),
        Pair(source=11, target=1, patterns=(ANSWERS,)),
        Pair(source=2, target=12, patterns=(NO_SSH, ALL)),
        Pair(source=12, target=2, patterns=(ALL,)),
    ),
)


@dataclass
class Site:
    """A site with a host in front of it and one behind its tunnel; `driver` filters inside the site."""

    enclosure: Enclosure
    near: HostHandle
    far: HostHandle
    driver: subprocess.Popen[str]

    def ask(self, *request: Any) -> Any:
        """Have the driver do something."""
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps(request) + "\n")
        self.driver.stdin.flush()
        answer = json.loads(self.driver.stdout.readline())
        assert answer["ok"], answer
        return answer["value"]


DRIVER = """
import json, sys, time
from vte_agent import filtering
from vte_agent.protocol.filters import Filters
filtering.COUNT_EVERY_S = 0.0
f = filtering.Filtering()
for line in sys.stdin:
    what, *rest = json.loads(line)
    value = None
    if what == "want anew":
        f.close()
        f = filtering.Filtering()
    if what != "counts":
        f.want(rest[0] and Filters.model_validate(rest[0]), time.monotonic())
    else:
        value = {one.rule: one.packets for one in f.counts(time.monotonic())}
    print(json.dumps({"ok": f.holds and not f.problems, "value": value or f.problems}), flush=True)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """near - site - far, where the device towards far has a tunnel's name."""
    with ExitStack() as stack:
        boxes = {name: Enclosure(name) for name in ("site", "near", "far")}
        for box in boxes.values():
            stack.callback(box.close)
        middle = boxes["site"]
        hosts = {}
        for name, device, networks in (("near", "lan", SITES), ("far", "ls0", FAR)):
            cable(middle, device, boxes[name], "eth0")
            macs = [
                json.loads(box.run(["ip", "-j", "link", "show", one]))[0]["address"]
                for box, one in ((middle, device), (boxes[name], "eth0"))
            ]
            lines = [f"link set {device} up"]
            for address in networks.values():
                lines += [f"addr add {address.rpartition('.')[0]}.254/24 dev {device}"]
                lines += [f"neigh add {address} lladdr {macs[1]} dev {device}"]
            middle.run(["ip", "-batch", "-"], stdin="\n".join(lines))
            boxes[name].run(["ip", "link", "set", "eth0", "up"])
            # Its MAC is that of the site: whatever it is sent goes there first.
            hosts[name] = HostHandle(name, boxes[name].pid, "", macs[0], "", 0, 0, "eth0")
        middle.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        driver = subprocess.Popen(
            middle.enter([sys.executable, "-c", DRIVER]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(driver.wait, 10)
        stack.callback(driver.terminate)
        yield Site(middle, hosts["near"], hosts["far"], driver)


def fates(site: Site) -> dict[tuple[int, int, tuple[int, int, int]], bool]:
    """Which packets arrive, of all protocols and ports between all networks, in both directions."""
    packets = {}
    ways = [*itertools.product(SITES, FAR), *itertools.product(FAR, SITES)]
    addresses = {**SITES, **FAR}
    for number, ((a, b), call) in enumerate(itertools.product(ways, CALLS), start=1):
        sender = site.near if a in SITES else site.far
        target = HostHandle("", 0, addresses[b], sender.mac, "", 0, 0, "")
        packet = ip_frame(sender, target, call[0], call[1], call[2], number=number, src_ip=addresses[a])
        packets[a, b, call] = sender, packet
    with ears(site.near, site.far, eth_type=IPV4) as heard:
        for sender, packet in packets.values():
            send(sender, packet)
        settle(heard)
        arrived = {told_by(data) for ear in heard.values() for data in ear.heard}
    return {key: told_by(packet) in arrived for key, (_, packet) in packets.items()}


def told_by(packet: bytes) -> bytes:
    """Identification and addresses: on its way it has one hop less to live, and another checksum with it."""
    return packet[18:20] + packet[26:34]


def expected(filters: Filters) -> dict[tuple[int, int, tuple[int, int, int]], bool]:
    """The same by the words of the filters."""
    pairs = {(pair.source, pair.target): pair.patterns for pair in filters.pairs}
    ways = [*itertools.product(SITES, FAR), *itertools.product(FAR, SITES)]
    return {
        (a, b, call): next((p.allow for p in pairs.get((a, b), ()) if is_about(p, call)), False)
        for (a, b), call in itertools.product(ways, CALLS)
    }


def is_about(pattern: Pattern, call: tuple[int, int, int]) -> bool:
    if pattern.protocol is None:
        return True
    port = call[1] if pattern.reply else call[2]
    at_port = call[0] in (6, 17) and any(first <= port <= last for first, last in pattern.ports)
    return pattern.protocol == call[0] and (at_port or not pattern.ports)


def test_without_filters_everything_passes_with_them_only_what_they_let_through(site: Site) -> None:
    assert all(fates(site).values())
    site.ask("want", FILTERS.model_dump(mode="json"))
    found = fates(site)
    assert found == expected(FILTERS)
    assert 10 < sum(found.values()) < len(found) / 2
    counts = site.ask("counts")
    assert counts["web"] == sum(found[1, 11, c] for c in CALLS) + sum(found[11, 1, c] for c in CALLS)
    assert counts["no ssh"] == 1
    assert sum(counts.values()) == len(found)
    site.ask("want", None)
    assert all(fates(site).values())
    assert site.enclosure.run(["nft", "list", "tables"]) == ""


def test_of_patterns_that_have_ports_in_common_the_first_decides_and_counts(site: Site) -> None:
    def tcp(rule: str, allow: bool, first: int, last: int, *, reply: bool = False) -> Pattern:
        return Pattern(rule=rule, allow=allow, protocol=6, ports=((first, last),), reply=reply)

    calls = tcp("no web", False, 80, 80), tcp("low", True, 1, 1023), tcp("no web", False, 8000, 8001)
    answers = tcp("no answers", False, 1, 99, reply=True), tcp("any answers", True, 1, 2000, reply=True)
    names = Pattern(rule="names", allow=True, protocol=17, ports=((50, 60),))
    ping = Pattern(rule="ping", allow=True, protocol=1, ports=((0, 9),))
    pairs = (
        Pair(source=1, target=11, patterns=(*calls, *answers, names)),
        Pair(source=11, target=1, patterns=(*answers, names, *calls, ping)),
        Pair(source=2, target=12, patterns=(calls[0], answers[0], calls[1], names)),
        Pair(source=12, target=2, patterns=(*calls, Pattern(rule="tcp", allow=False, protocol=6), ALL)),
    )
    filters = FILTERS.model_copy(update={"pairs": pairs})
    before = dict(site.ask("counts"))
    site.ask("want", filters.model_dump(mode="json"))
    found = fates(site)
    assert found == expected(filters)
    decides = {
        (pair, call): next((p.rule for p in pair.patterns if is_about(p, call)), "")
        for pair, call in itertools.product(pairs, CALLS)
    }
    counts = site.ask("counts")
    for rule in {"no web", "low", "no answers", "any answers", "names", "tcp"}:
        times = sum(one == rule for one in decides.values())
        assert counts[rule] - before.get(rule, 0) == times > 0, rule
    site.ask("want", None)


def test_what_was_counted_stays_counted_across_a_change(site: Site) -> None:
    site.ask("want", FILTERS.model_dump(mode="json"))
    before = site.ask("counts")
    site.ask("want", FILTERS.model_copy(update={"pairs": FILTERS.pairs[::-1]}).model_dump(mode="json"))
    assert site.ask("counts") == before
    fates(site)
    after = site.ask("counts")
    assert sum(after.values()) - sum(before.values()) == len(expected(FILTERS))
    site.ask("want", None)


def two_thousand(first_port: int) -> Filters:
    """The filters with as many rules that are about none of the packets sent here."""
    patterns = tuple(
        Pattern(rule=f"r{port}", allow=True, protocol=17, ports=((port, port),))
        for port in range(first_port, first_port + 500)
    )
    pairs = tuple(pair.model_copy(update={"patterns": (*patterns, *pair.patterns)}) for pair in FILTERS.pairs)
    return FILTERS.model_copy(update={"pairs": pairs})


@pytest.mark.parametrize("how", ["want", "want anew"])
def test_two_thousand_rules_are_changed_in_one_step_also_by_an_agent_that_was_killed(site: Site, how: str) -> None:
    """While they change nothing passes that neither lets through, nothing is lost that both do, all is counted."""
    ways = {(1, 11, 80): True, (2, 12, 443): True, (2, 12, 22): False, (1, 12, 80): False}
    sets = [two_thousand(port).model_dump(mode="json") for port in (2000, 3000)]
    site.ask("want", sets[0])
    before = sum(site.ask("counts").values())

    def change() -> None:
        for number in range(1, CHANGES + 1):
            site.ask(how, sets[number % 2])

    sent: dict[bytes, bool] = {}
    with network_of(site.near.pid):
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        out.bind((site.near.device, 0))
    with out, ThreadPoolExecutor(1) as pool, ears(site.near, site.far, eth_type=IPV4) as heard:
        changing = pool.submit(change)
        while not changing.done():
            for (source, target, port), may in ways.items():
                there = HostHandle("", 0, FAR[target], site.near.mac, "", 0, 0, "")
                packet = ip_frame(site.near, there, 6, 1000, port, number=len(sent) + 1, src_ip=SITES[source])
                sent[told_by(packet)] = may
                out.send(packet)
            # A socket holds a few hundred of them.
            heard[site.far.name].listen()
            time.sleep(0.002)
        changing.result()
        settle(heard)
        arrived = {told_by(data) for ear in heard.values() for data in ear.heard}
    assert len(sent) > 20 * CHANGES
    assert [may for packet, may in sent.items() if (packet in arrived) is not may] == []
    if how == "want":
        # For a moment both tables judge, and then both count.
        assert sum(site.ask("counts").values()) - before >= len(sent)
    assert fates(site) == expected(two_thousand(2000 if CHANGES % 2 == 0 else 3000))
    site.ask("want", None)
