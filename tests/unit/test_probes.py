"""Probes: only what we signed is read, whatever the bytes; every port gets its turn."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import lldp, packet
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.discovering.probes import PROBE_XID, PortProbe, Probe, ProbeSchedule, ProbeSigner

SIGNER = ProbeSigner(b"0123456789abcdef")
MAC = "02:00:00:00:00:07"
FRAME = SIGNER.frame(7, 3, MAC, 12.5)


@given(
    dpid=st.integers(0, 2**64 - 1),
    port_no=st.integers(0, 2**32 - 1),
    mac=st.binary(min_size=6, max_size=6),
    sent_s=st.floats(0, 1e9),
)
def test_what_was_signed_is_read_back(dpid: int, port_no: int, mac: bytes, sent_s: float) -> None:
    probe = SIGNER.read(SIGNER.frame(dpid, port_no, mac.hex(":"), sent_s))
    assert probe is not None and probe.port == (dpid, port_no)
    assert probe.sent_s == pytest.approx(sent_s, abs=1e-6)
    assert probe.is_fresh(sent_s, max_age_s=1e-6)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_probe(frame: bytes) -> None:
    assert SIGNER.read(frame) is None


@given(st.binary(min_size=78, max_size=78))
def test_a_probe_with_anything_behind_its_header_is_no_probe(tail: bytes) -> None:
    assert SIGNER.read(FRAME[:14] + tail) is None or FRAME[14:] == tail


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_single_changed_byte_is_noticed(at: int, change: int) -> None:
    mutated = bytearray(FRAME)
    mutated[at] ^= change
    assert SIGNER.read(bytes(mutated)) is None


@given(st.integers(0, len(FRAME)), st.integers(0, len(FRAME)), st.binary(max_size=40))
def test_a_spliced_probe_is_noticed(start: int, end: int, middle: bytes) -> None:
    spliced = FRAME[:start] + middle + FRAME[end:]
    assert spliced == FRAME or SIGNER.read(spliced) is None


def test_another_key_signs_for_nobody() -> None:
    assert ProbeSigner(b"fedcba9876543210").read(FRAME) is None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        ProbeSigner(b"short")


def test_old_probes_and_probes_from_the_future_are_not_fresh() -> None:
    probe = Probe(7, 3, 12.5)
    assert probe.is_fresh(15.5, max_age_s=3.0)
    assert not probe.is_fresh(15.6, max_age_s=3.0)
    assert not probe.is_fresh(12.4, max_age_s=3.0)


def test_an_independent_decoder_reads_the_frame_as_lldp() -> None:
    decoded = packet.Packet(FRAME).get_protocol(lldp.lldp)
    chassis, port, ttl, ours, end = decoded.tlvs
    assert chassis.chassis_id == b"0000000000000007" and port.port_id == b"00000003"
    assert ttl.ttl == 4 and ours.oui == b"\x02LS" and isinstance(end, lldp.End)


def test_the_packet_out_is_byte_for_byte_os_kens() -> None:
    class Datapath:
        ofproto = ofp
        ofproto_parser = parser

    actions = [parser.OFPActionOutput(3, 0)]
    message = parser.OFPPacketOut(Datapath(), ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, actions, FRAME)
    message.set_xid(PROBE_XID)
    message.serialize()
    assert PortProbe(SIGNER, 7, 3, MAC).packet_out(12.5) == bytes(message.buf)


def turns(schedule: ProbeSchedule, until_s: float, linked: set[tuple[int, int]]) -> list[float]:
    """When a single port was due, looked at each 10 ms."""
    return [ms / 1000 for ms in range(0, int(until_s * 1000), 10) if schedule.due(ms / 1000, linked, 10)]


def test_a_silent_port_is_probed_often_at_first_then_each_interval_then_rarely() -> None:
    schedule = ProbeSchedule(1.0, idle_after_s=10.0, idle_interval_s=5.0)
    schedule.start((1, 1), 0.0)
    times = turns(schedule, 40.0, set())
    assert times[:4] == pytest.approx([0.0, 0.1, 0.3, 0.6], abs=0.011)
    gaps = [after - before for before, after in itertools.pairwise(times[4:])]
    assert gaps[:7] == pytest.approx([1.0] * 7, abs=0.011)
    assert gaps[-3:] == pytest.approx([5.0] * 3, abs=0.011)


def test_an_answered_port_is_not_probed_again_before_its_turn() -> None:
    schedule = ProbeSchedule(1.0)
    schedule.start((1, 1), 0.0)
    times = turns(schedule, 5.0, {(1, 1)})
    assert times[0] == 0.0 and times[1] > 0.5
    gaps = [after - before for before, after in itertools.pairwise(times[1:])]
    assert gaps == pytest.approx([1.0] * len(gaps), abs=0.011)


def test_the_probes_of_a_large_fabric_are_spread_over_the_interval() -> None:
    schedule = ProbeSchedule(1.0)
    ports = {(dpid, port_no) for dpid in range(1, 501) for port_no in range(1, 7)}
    for port in ports:
        schedule.start(port, 0.0)
    schedule.due(0.0, ports, 10_000)
    for ms in range(0, 3000, 20):
        schedule.due(ms / 1000, ports, 10_000)
    per_tick = [len(schedule.due(3 + ms / 1000, ports, 10_000)) for ms in range(0, 1000, 20)]
    assert sum(per_tick) == pytest.approx(3000, abs=120) and max(per_tick) < 2 * 3000 / 50


def test_no_more_than_the_limit_is_due_at_once_and_the_rest_comes_next() -> None:
    schedule = ProbeSchedule(1.0)
    for port_no in range(10):
        schedule.start((1, port_no), 0.0)
    first, second = schedule.due(0.0, (), 6), schedule.due(0.0, (), 6)
    assert len(first) == 6 and {*first, *second} == {(1, port_no) for port_no in range(10)}


def test_a_port_that_stopped_is_never_due() -> None:
    schedule = ProbeSchedule(1.0)
    schedule.start((1, 1), 0.0)
    schedule.stop((1, 1))
    assert not turns(schedule, 3.0, set())
