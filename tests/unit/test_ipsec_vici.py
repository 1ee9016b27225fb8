"""Whatever comes back on charon's socket: an answer that is understood, or TunnelFailed, soon."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vici.protocol import Message, Packet

from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import ipsec_vici
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.ipsec_vici import Refused, Sa, Vici, ViciFailed, parse_sas

SECRET = b"\x17secret-of-the-tunnel-0123456789!"

COMMANDS: list[Callable[[Vici], Any]] = [
    lambda vici: vici.version(),
    lambda vici: vici.loaded(),
    lambda vici: vici.sas(),
    lambda vici: vici.load("t", SECRET, ("a.t", "b.t"), {"version": "2"}),
    lambda vici: vici.unload("t"),
    lambda vici: vici.initiate("t"),
    lambda vici: vici.terminate("t", 3),
]


@contextmanager
def charon(answers: bytes, *, hangs: bool = False) -> Iterator[Vici]:
    """One that has answered already. hangs: it goes on listening without a word, else it hangs up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = threading.Event()

        def serve() -> None:
            try:
                theirs.sendall(answers)
                if hangs:
                    done.wait(5)
                else:
                    theirs.shutdown(socket.SHUT_WR)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Vici(ours)
        finally:
            done.set()
            ours.close()
            thread.join()


def segment(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def answer(message: dict[str, Any]) -> bytes:
    return segment(bytes([Packet.CMD_RESPONSE]) + Message.serialize(message))


def event(message: bytes) -> bytes:
    return segment(bytes([Packet.EVENT, 7]) + b"list-sa" + message)


CONFIRM = segment(bytes([Packet.EVENT_CONFIRM]))

kinds = st.integers(0, 8).map(lambda one: bytes([one]))
names = st.text("abc-", max_size=8)
values = st.recursive(
    st.binary(max_size=20) | st.sampled_from([b"yes", b"no", b"ESTABLISHED", b"7", b"10.0.0.1"]),
    lambda inner: st.lists(st.binary(max_size=9), max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "success",
        "errmsg",
        "conns",
        "version",
        "uniqueid",
        "state",
        "child-sas",
        "install-time",
        "remote-host",
        "remote-port",
    ]
)
messages = st.dictionaries(fields | names, values, max_size=5)
packets = st.one_of(
    st.builds(lambda kind, body: segment(kind + body), kinds, st.binary(max_size=40)),
    st.builds(lambda kind, message: segment(kind + Message.serialize(message)), kinds, messages),
    messages.map(lambda message: event(Message.serialize({"t": message}))),
    st.just(CONFIRM),
    st.binary(max_size=30),
)


@settings(max_examples=150, deadline=None)
@given(command=st.sampled_from(COMMANDS), answers=st.lists(packets, max_size=6))
def test_garbage_ends_in_a_named_failure(command: Callable[[Vici], Any], answers: list[bytes]) -> None:
    with charon(b"".join(answers)) as vici:
        failure: TunnelFailed | None = None
        try:
            got = command(vici)
        except TunnelFailed as error:
            failure, got = error, None
        assert got is None or isinstance(got, (str, set, list))
        assert failure is None or vici.closed or isinstance(failure, Refused)
        assert "secret-of" not in str(failure)


@given(told=st.dictionaries(names, values | messages, max_size=4))
def test_what_is_said_of_an_sa_is_believed_as_far_as_it_can_be(told: dict[str, Any]) -> None:
    for sa in parse_sas(told):
        assert sa.number >= 0 and (sa.made_s is None or sa.made_s >= 0)


@pytest.mark.parametrize("length", [0, 512 * 1024 + 1, 0xFFFFFFFF])
def test_an_answer_without_end_is_not_waited_for(length: int) -> None:
    with charon(struct.pack("!I", length) + bytes(100), hangs=True) as vici, pytest.raises(ViciFailed):
        vici.version()


def test_one_that_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipsec_vici, "ANSWER_WITHIN_S", 0.05)
    for begun in (b"", b"\0\0", struct.pack("!I", 9) + b"\x01"):
        before_s = time.monotonic()
        with charon(begun, hangs=True) as vici, pytest.raises(ViciFailed, match="make its tunnels again"):
            vici.version()
        assert time.monotonic() - before_s < 2.0


def test_events_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipsec_vici, "_MOST_PARTS", 50)
    with charon(CONFIRM + 100 * event(b""), hangs=True) as vici, pytest.raises(ViciFailed):
        vici.sas()


def test_a_refusal_says_why() -> None:
    with charon(answer({"success": "no", "errmsg": "no\nsuch \x1b[31mthing"})) as vici:
        with pytest.raises(Refused, match=r"initiate: .*no.such .\[31mthing"):
            vici.initiate("t")
        assert not vici.closed


def test_an_sa_is_what_charon_says_it_is() -> None:
    child = {"state": "INSTALLED", "install-time": "12"}
    told = {
        "t": {
            "uniqueid": "4",
            "state": "ESTABLISHED",
            "initiator": "yes",
            "remote-host": "192.0.2.7",
            "remote-port": "4500",
            "child-sas": {"t-1": {**child, "install-time": "40", "state": "REKEYED"}, "t-2": child},
        }
    }
    answers = CONFIRM + event(Message.serialize(told)) + answer({}) + CONFIRM
    endpoint = Endpoint(address=IPv4Address("192.0.2.7"), port=4500)
    with charon(answers) as vici:
        assert vici.sas() == [Sa("t", 4, "ESTABLISHED", True, 12.0, endpoint)]
