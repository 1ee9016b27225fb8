"""The internet of a lab: uplinks have their addresses, delays and troubles, and nothing of it is left behind."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mininet_topos import devices
from mininet_topos.handles import LabError
from mininet_topos.overlay.flow import flow
from mininet_topos.overlay.underlay import Place, Underlay, Uplink
from tests.system.waiting import wait_until

PLACES = (
    Place("ber", (Uplink("up0", delay_ms=5.0), Uplink("up1", delay_ms=20.0))),
    Place("muc", (Uplink("up0", delay_ms=5.0, mtu=1280), Uplink("up1", behind_nat=True))),
)


@pytest.fixture(scope="module")
def underlay() -> Iterator[Underlay]:
    """Two places, each with two uplinks."""
    with Underlay(PLACES) as underlay:
        processes = [underlay.at(place.name).pid for place in PLACES]
        yield underlay
    assert not [name for name in devices.names() if name.startswith(underlay.prefix)]
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def ping(underlay: Underlay, source: str, target: str, *, size: int = 56, count: int = 3) -> tuple[int, float]:
    """Answers, and the least round trip in ms, from an uplink of the first place to one of the second."""
    addresses = [
        str(underlay.address(place, uplink))
        for place, uplink in zip(("ber", "muc"), (source, target), strict=True)
    ]
    program = ["ping", "-n", "-i", "0.05", "-W", "1", "-M", "do", "-s", str(size), "-c", str(count)]
    try:
        said = underlay.at("ber").run([*program, "-I", addresses[0], addresses[1]])
    except LabError as error:
        said = str(error)
        return 0, 0.0
    times_ms = [float(text) for text in re.findall(r"time=([\d.]+)", said)]
    return len(times_ms), min(times_ms)


def test_a_packet_takes_the_uplink_of_its_address_and_its_delay(underlay: Underlay) -> None:
    answers, rtt_ms = ping(underlay, "up0", "up0")
    assert answers == 3
    assert 20.0 <= rtt_ms < 35.0
    answers, rtt_ms = ping(underlay, "up1", "up0")
    assert answers == 3
    assert 50.0 <= rtt_ms < 65.0


def test_a_cut_is_silent_and_ends(underlay: Underlay) -> None:
    underlay.link("ber", "up0").cut()
    assert ping(underlay, "up0", "up0", count=1) == (0, 0.0)
    assert ping(underlay, "up1", "up0", count=1)[0] == 1
    underlay.link("ber", "up0").restore()
    assert ping(underlay, "up0", "up0", count=1)[0] == 1


def test_long_packets_alone_can_be_swallowed(underlay: Underlay) -> None:
    underlay.swallow("ber", "up1", 1000)
    assert ping(underlay, "up1", "up1", size=1000, count=1)[0] == 0
    assert ping(underlay, "up1", "up1", size=900, count=1)[0] == 1
    underlay.swallow("ber", "up1", None)
    assert ping(underlay, "up1", "up1", size=1000, count=1)[0] == 1


def test_an_uplink_has_the_mtu_it_was_given(underlay: Underlay) -> None:
    assert ping(underlay, "up0", "up1", size=1472, count=1)[0] == 1
    assert ping(underlay, "up0", "up0", size=1252, count=1)[0] == 1
    assert ping(underlay, "up0", "up0", size=1253, count=1)[0] == 0


def test_one_direction_alone_loses(underlay: Underlay) -> None:
    before = underlay.link("muc", "up0").stats()
    underlay.lose("ber", "up0", "in", 1.0)
    assert ping(underlay, "up0", "up0", count=5)[0] == 0
    after = underlay.link("muc", "up0").stats()
    assert after.b_to_a.frames - before.b_to_a.frames >= 5
    assert after.a_to_b.frames - before.a_to_b.frames >= 5
    underlay.lose("ber", "up0", "in", 0.0)
    assert ping(underlay, "up0", "up0", count=1)[0] == 1


def test_two_places_can_be_kept_apart(underlay: Underlay) -> None:
    underlay.part("ber", "muc")
    assert [ping(underlay, "up0", "up0", count=1)[0], ping(underlay, "up1", "up1", count=1)[0]] == [0, 0]
    underlay.part("ber", "muc", apart=False)
    assert ping(underlay, "up1", "up0", count=1)[0] == 1


def test_a_place_behind_nat_is_heard_under_another_address(underlay: Underlay) -> None:
    port = "4000"
    hear = underlay.at("ber").start(
        [
            "python3",
            "-c",
            f"import socket; s=socket.socket(2,2); s.bind(('',{port})); print(s.recvfrom(9)[1][0], flush=True)",
        ],
        output=subprocess.PIPE,
    )
    say = f"""
import socket, time
s = socket.socket(2, 2)
s.bind(("{underlay.address("muc", "up1")}", 0))
for _ in range(50):
    s.sendto(b"x", ("{underlay.address("ber", "up0")}", {port}))
    time.sleep(0.02)
"""
    underlay.at("muc").run(["python3", "-c", say])
    assert hear.stdout is not None
    heard = hear.stdout.readline().decode().strip()
    hear.wait(5)
    assert heard not in ("", str(underlay.address("muc", "up1")), str(underlay.address("muc", "up0")))


def test_a_nat_that_forgets_shows_a_place_under_another_address_from_then_on(underlay: Underlay) -> None:
    near, far = f"{underlay.address('ber', 'up0')}", f"{underlay.address('muc', 'up1')}"
    hear = underlay.at("ber").start(["python3", "-uc", HEAR.format(near)], output=subprocess.PIPE)
    say = underlay.at("muc").start(["python3", "-c", SAY.format(far, near)])
    try:
        assert hear.stdout is not None
        sources = [hear.stdout.readline()]
        for _ in range(2):
            underlay.roam("muc", "up1")
            sources.append(hear.stdout.readline())
        assert len({*sources}) == 3 and far not in b"".join(sources).decode()
        assert sources[0].split()[0] != sources[1].split()[0]
    finally:
        for program in (say, hear):
            program.kill()
            program.wait(5)
    with pytest.raises(LabError, match="not behind a NAT"):
        underlay.roam("muc", "up0")


HEAR = """
import socket
link, known = socket.socket(2, 2), None
link.bind(("{}", 4001))
while True:
    source = link.recvfrom(9)[1]
    if source != known:
        known = source
        print(*source)
"""
SAY = """
import socket, time
link = socket.socket(2, 2)
link.bind(("{}", 4001))
while True:
    link.sendto(b"x", ("{}", 4001))
    time.sleep(0.02)
"""


def test_a_flow_says_what_was_lost_and_how_long_nothing_came(underlay: Underlay) -> None:
    ends = [str(underlay.address(place, "up0")) for place in ("ber", "muc")]
    with flow(underlay.at("ber"), ends[0], underlay.at("muc"), ends[1]) as receiver:
        wait_until(lambda: len(receiver.read()) > 50, 10.0, "nothing came")
        underlay.link("ber", "up0").cut()
        time.sleep(0.3)  # the length of the cut
        underlay.link("ber", "up0").restore()
        before = len(receiver.read())
        wait_until(lambda: len(receiver.read()) > before + 50, 10.0, "nothing came any more")
        assert 0.25 < receiver.longest_silence_s() < 1.0
        assert 50 <= receiver.lost() <= 200


def test_what_is_asked_for_has_to_be_there(underlay: Underlay) -> None:
    with pytest.raises(LabError, match="no uplink 'up7'"):
        underlay.link("ber", "up7")
    with pytest.raises(LabError, match="no place 'rom'"):
        underlay.at("rom")
