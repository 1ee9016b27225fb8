"""STAMP packets are those of RFC 8762, as another codec reads and writes them; loss is told by its direction."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.probing.stamp import BYTES, BadStamp, Reflector, Reply, Sender

WALL_S = 1_700_000_000.25
SENT = bytes.fromhex("00000000 e8fe6f80 40000000 2001".replace(" ", "")) + bytes(30)
"""Sequence 0, 2023-11-14 22:13:20.25 UTC since 1900, error estimate, 30 bytes of nothing (RFC 8762, figure 2)."""


def test_the_senders_packet_is_byte_for_byte_that_of_the_rfc() -> None:
    assert Sender().packet(0.0, WALL_S) == SENT
    assert len(SENT) == BYTES


def test_the_reflectors_packet_is_byte_for_byte_that_of_the_rfc() -> None:
    reflected = Reflector().reflect(SENT, WALL_S + 0.5, WALL_S + 1, ttl=255)
    parts = (
        *("00000000", "e8fe6f81 40000000", "2001", "0000"),
        *("e8fe6f80 c0000000", "00000000", "e8fe6f80 40000000", "2001", "0000", "ff", "000000"),
    )
    assert reflected == bytes.fromhex("".join(parts).replace(" ", ""))
    assert len(reflected) == BYTES


def test_another_codec_reads_both_the_same() -> None:
    stamp = pytest.importorskip("scapy.contrib.stamp")
    sent = stamp.STAMPSessionSenderTestUnauthenticated(SENT)
    assert sent.seq == 0
    assert float(sent.ts) == pytest.approx(WALL_S + 2_208_988_800, abs=1e-6)
    reflected = stamp.STAMPSessionReflectorTestUnauthenticated(
        Reflector().reflect(SENT, WALL_S + 0.5, WALL_S + 1, ttl=64)
    )
    assert (reflected.seq, reflected.seq_sender, reflected.ttl_sender) == (0, 0, 64)
    assert float(reflected.ts_rx) == pytest.approx(WALL_S + 0.5 + 2_208_988_800, abs=1e-6)


def test_the_time_that_the_reflector_takes_is_no_part_of_the_round_trip() -> None:
    sender, reflector = Sender(), Reflector()
    back = reflector.reflect(sender.packet(10.0, WALL_S), 500.0, 500.4, ttl=255)
    reply = sender.reply(back, 10.5)
    assert reply is not None and reply.rtt_s == pytest.approx(0.1, abs=1e-6)


def test_each_way_is_timed_on_its_own_up_to_what_the_clocks_differ_by() -> None:
    sender, reflector = Sender(), Reflector()

    def reply(sent_s: float, out_s: float, back_s: float) -> Reply:
        came_s = 1000.0 + sent_s + out_s
        back = reflector.reflect(sender.packet(sent_s, WALL_S), came_s, came_s + 0.2, ttl=255)
        said = sender.reply(back, sent_s + out_s + 0.2 + back_s)
        assert said is not None
        return said

    first, second = reply(10.0, 0.01, 0.03), reply(11.0, 0.05, 0.02)
    assert second.out_s - first.out_s == pytest.approx(0.04, abs=2e-6)
    assert second.back_s - first.back_s == pytest.approx(-0.01, abs=2e-6)
    assert second.rtt_s == pytest.approx(0.07, abs=2e-6)


def test_a_reflector_whose_clock_was_set_cannot_make_a_round_trip_negative() -> None:
    sender, reflector = Sender(), Reflector()
    back = reflector.reflect(sender.packet(10.0, WALL_S), 500.0, 9_000.0, ttl=255)
    reply = sender.reply(back, 10.5)
    assert reply is not None and reply.rtt_s == pytest.approx(0.5)


@given(st.lists(st.sampled_from(["ok", "out", "in"]), min_size=1, max_size=200))
def test_what_is_lost_is_lost_in_its_direction(fates: list[str]) -> None:
    sender, reflector = Sender(), Reflector()
    replies: list[Reply] = []
    for number, fate in enumerate(["ok", *fates, "ok"]):
        packet = sender.packet(number, WALL_S)
        if fate == "out":
            continue
        back = reflector.reflect(packet, WALL_S, WALL_S, ttl=255)
        if fate == "ok" and (reply := sender.reply(back, number + 0.5)):
            replies.append(reply)
    sent, reflected = sum(r.sent for r in replies), sum(r.reflected for r in replies)
    assert sent - reflected == fates.count("out")
    assert reflected - len(replies) == fates.count("in")


def test_a_reflector_that_begins_again_has_lost_nothing() -> None:
    sender, reflector = Sender(), Reflector()
    for number in range(50):
        assert sender.reply(reflector.reflect(sender.packet(number, 0.0), 0, 0, 255), number + 0.1)
    reply = sender.reply(Reflector().reflect(sender.packet(60.0, 0.0), 0, 0, 255), 60.1)
    assert reply is not None and (reply.sent, reply.reflected) == (1, 1)


def test_a_reply_that_comes_twice_counts_once() -> None:
    sender = Sender()
    back = Reflector().reflect(sender.packet(1.0, 0.0), 0, 0, 255)
    assert sender.reply(back, 1.1) is not None
    assert sender.reply(back, 1.2) is None


@given(st.binary(max_size=80))
def test_bytes_of_anybody_are_no_crash(data: bytes) -> None:
    sender, reflector = Sender(), Reflector()
    sender.packet(1.0, WALL_S)
    for read in (lambda: sender.reply(data, 2.0), lambda: reflector.reflect(data, WALL_S, WALL_S, 1)):
        with suppress(BadStamp):
            read()
