"""Questions for addresses are read strictly, and answered so that os-ken's own packet library agrees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import arp, ethernet, icmpv6, ipv6, packet

from ryu_apps.neighbours import Question, answer, read_question

ASKER, OWNER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def encode(*parts: object) -> bytes:
    made = packet.Packet()
    for part in parts:
        made.add_protocol(part)
    made.serialize()
    return bytes(made.data)


def arp_request(sender_ip: str = "10.0.0.1", target_ip: str = "10.0.0.2", opcode: int = arp.ARP_REQUEST) -> bytes:
    return encode(
        ethernet.ethernet("ff:ff:ff:ff:ff:ff", ASKER, 0x0806),
        arp.arp(opcode=opcode, src_mac=ASKER, src_ip=sender_ip, dst_ip=target_ip),
    )


def solicitation(source: str = "fe80::1", hop_limit: int = 255) -> bytes:
    return encode(
        ethernet.ethernet("33:33:ff:00:00:02", ASKER, 0x86DD),
        ipv6.ipv6(src=source, dst="ff02::1:ff00:2", nxt=58, hop_limit=hop_limit),
        icmpv6.icmpv6(
            type_=icmpv6.ND_NEIGHBOR_SOLICIT,
            data=icmpv6.nd_neighbor(dst="fe80::2", option=icmpv6.nd_option_sla(hw_src=ASKER)),
        ),
    )


def test_an_arp_request_is_a_question() -> None:
    assert read_question(arp_request()) == Question(ASKER, "10.0.0.1", "10.0.0.2")


def test_a_solicitation_is_a_question() -> None:
    assert read_question(solicitation()) == Question(ASKER, "fe80::1", "fe80::2")


@pytest.mark.parametrize(
    "frame",
    [arp_request(opcode=arp.ARP_REPLY), solicitation(hop_limit=64), b"", arp_request()[:30], solicitation()[:60]],
    ids=["an ARP reply", "a solicitation from beyond a router", "nothing", "half an ARP", "half a solicitation"],
)
def test_anything_else_is_no_question(frame: bytes) -> None:
    assert read_question(frame) is None


@pytest.mark.parametrize(
    "frame",
    [arp_request(sender_ip="0.0.0.0"), arp_request(target_ip="10.0.0.1"), solicitation(source="::")],  # noqa: S104
    ids=["ARP probe", "announcement", "duplicate address detection"],
)
def test_probes_for_duplicates_get_no_answer(frame: bytes) -> None:
    question = read_question(frame)
    assert question is not None
    assert question.sender_ip is None
    assert answer(question, OWNER) is None


def test_the_arp_answer_says_who_has_it() -> None:
    frame = answer(Question(ASKER, "10.0.0.1", "10.0.0.2"), OWNER)
    reply = packet.Packet(frame).get_protocol(arp.arp)
    assert (reply.opcode, reply.src_mac, reply.src_ip) == (arp.ARP_REPLY, OWNER, "10.0.0.2")
    assert (reply.dst_mac, reply.dst_ip) == (ASKER, "10.0.0.1")


def test_the_advertisement_says_who_has_it_with_the_right_checksum() -> None:
    frame = answer(Question(ASKER, "fe80::1", "fe80::2"), OWNER)
    assert frame is not None
    reply = packet.Packet(frame)
    head, icmp = reply.get_protocol(ipv6.ipv6), reply.get_protocol(icmpv6.icmpv6)
    assert (head.src, head.dst, head.hop_limit) == ("fe80::2", "fe80::1", 255)
    assert (icmp.type_, icmp.data.dst, icmp.data.option.hw_src) == (icmpv6.ND_NEIGHBOR_ADVERT, "fe80::2", OWNER)
    ours = frame[-len(frame) + 54 + 2 : 54 + 4]
    icmp.csum = 0
    assert encode(ethernet.ethernet(ASKER, OWNER, 0x86DD), head, icmp)[56:58] == ours


@given(st.binary(max_size=120))
def test_any_bytes_are_a_question_or_none(frame: bytes) -> None:
    read_question(frame)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_a_damaged_question_is_never_a_crash(position: int, damage: bytes) -> None:
    for frame in (arp_request(), solicitation()):
        at = position % len(frame)
        question = read_question(frame[:at] + damage + frame[at + len(damage) :])
        if question is not None:
            answer(question, OWNER)


@pytest.mark.parametrize("plain", [arp_request(), solicitation()], ids=["ARP", "neighbour discovery"])
@pytest.mark.parametrize("tci", [0, 10, 0xE00A], ids=["by priority alone", "10", "10 with a priority"])
def test_a_question_behind_a_tag_is_answered_behind_it(plain: bytes, tci: int) -> None:
    question = read_question(plain[:12] + b"\x81\x00" + tci.to_bytes(2) + plain[12:])
    untagged = read_question(plain)
    assert question is not None and untagged is not None and question.vid == tci & 0xFFF
    said, bare = answer(question, OWNER), answer(untagged, OWNER)
    assert said is not None and bare is not None
    assert said == bare[:12] + b"\x81\x00" + (tci & 0xFFF).to_bytes(2) + bare[12:]


def test_what_is_behind_two_tags_is_no_question() -> None:
    twice = arp_request()[:12] + b"\x81\x00\x00\x0a\x81\x00\x00\x14" + arp_request()[12:]
    assert read_question(twice) is None
