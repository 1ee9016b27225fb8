"""The link emulator by itself: real devices, real frames."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mininet_topos import devices
from mininet_topos.emulator import Emulator, LinkSpec, RelayFailed, utilisation
from tests.system.conftest import eventually

LLDP = bytes.fromhex("0180c200000e 020000000001 88cc")
_PACKET_IGNORE_OUTGOING = 23


@pytest.fixture
def link() -> Iterator[tuple[Emulator, str, str]]:
    name = "t" + secrets.token_hex(3)
    with closing(Emulator([LinkSpec(f"{name}a", f"{name}b", 10.0, 5.0)])) as emulator:
        yield emulator, f"{name}a", f"{name}b"


def port(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(263, _PACKET_IGNORE_OUTGOING, 1)
    opened.bind((device, 0x0003))
    opened.settimeout(2.0)
    return opened


def test_lldp_crosses_in_both_directions_after_the_delay(link: tuple[Emulator, str, str]) -> None:
    _, a, b = link
    with port(a) as near, port(b) as far:
        for one, other in ((near, far), (far, near)):
            begin_s = time.monotonic()
            one.send(LLDP + bytes(50))
            assert other.recv(2048) == LLDP + bytes(50)
            assert 0.005 <= time.monotonic() - begin_s < 0.025


def test_the_added_jitter_of_an_idle_link_is_under_a_millisecond(link: tuple[Emulator, str, str]) -> None:
    _, a, b = link
    late_ms = []
    with port(a) as near, port(b) as far:
        for _ in range(200):
            near.send(LLDP + struct.pack("q", time.monotonic_ns()) + bytes(50))
            sent_ns = struct.unpack_from("q", far.recv(2048), len(LLDP))[0]
            late_ms.append((time.monotonic_ns() - sent_ns) / 1e6 - 5.0)
    # The test shares the machine: half of the frames show what the emulator can, a quiet machine shows it at p95.
    assert sorted(late_ms)[len(late_ms) // 2] < 1.0


def test_the_queue_is_finite_and_every_frame_is_accounted_for(link: tuple[Emulator, str, str]) -> None:
    emulator, a, b = link
    before = emulator.stats()
    with port(a) as near, port(b):
        for _ in range(400):
            near.send(LLDP + bytes(1236))

        def seen() -> int:
            stats = emulator.stats().links[0].a_to_b
            return stats.frames + stats.dropped_queue

        assert eventually(lambda: seen() == 400)
    stats = emulator.stats().links[0].a_to_b
    # 50 ms at 10 Mbit/s are 50 frames of 1,250 bytes; a few more get in while the first ones leave.
    assert 45 <= stats.frames <= 120 and stats.dropped_queue == 400 - stats.frames
    assert stats.busy_s == pytest.approx(stats.bytes * 8 / 10e6)
    assert utilisation(before, emulator.stats())[0][0] > 0


def test_a_silent_cut_keeps_the_carrier_and_a_loud_one_takes_it(link: tuple[Emulator, str, str]) -> None:
    emulator, a, b = link

    def carriers() -> set[str]:
        return {Path("/sys/class/net", device, "carrier").read_text().strip() for device in (a, b)}

    emulator.ask({"op": "cut", "link": 0})
    assert carriers() == {"1"}
    with port(a) as near:
        near.send(LLDP + bytes(50))
        assert eventually(lambda: emulator.stats().links[0].a_to_b.dropped_cut == 1)
    emulator.ask({"op": "cut", "link": 0, "silent": False})
    assert carriers() == {"0"}
    emulator.ask({"op": "restore", "link": 0})
    assert carriers() == {"1"}


def test_a_bad_request_is_answered_and_changes_nothing(link: tuple[Emulator, str, str]) -> None:
    emulator, _, _ = link
    for request in ({"op": "set", "link": 0, "loss": 7}, {"op": "set", "link": 9}, {"op": "dance"}, {}):
        with pytest.raises(RelayFailed, match="refused"):
            emulator.ask(request)
    assert emulator.stats().links[0].a_to_b.frames == 0


def test_a_device_that_exists_is_refused_by_name(link: tuple[Emulator, str, str]) -> None:
    with pytest.raises(RelayFailed, match=link[1]):
        Emulator([LinkSpec(link[1], link[2], None, 0.0)])


def test_the_devices_are_gone_with_the_process() -> None:
    name = "t" + secrets.token_hex(3)
    emulator = Emulator([LinkSpec(f"{name}a", f"{name}b", None, 0.0)])
    assert f"{name}a" in devices.names()
    emulator.close()
    assert not {f"{name}a", f"{name}b"} & devices.names()
    with pytest.raises(RelayFailed, match="start the lab again"):
        emulator.stats()
