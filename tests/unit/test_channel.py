"""Whoever connects to the OpenFlow port, and whatever he sends: the channel goes on serving the switches."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from os_ken.base.app_manager import AppManager
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER

from ryu_apps.app import App, handles
from ryu_apps.channel import Channel
from tests.system.waiting import wait_until

_HELLO, _ECHO_REQUEST, _ECHO_REPLY, _FEATURES_REPLY, _PORT_STATUS, _MULTIPART = 0, 2, 3, 6, 12, 19
_PORT_DESC = 13
ADDED, DELETED = 0, 1
LATE_S = 5.0


class Watcher(App):
    """Hears which switches there are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int | None] = []

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER,))
    def on_state(self, event: ofp_event.EventOFPStateChange) -> None:
        self.seen.append(event.datapath.id)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    manager = AppManager.get_instance()
    app: Watcher = manager.instantiate(Watcher)
    app.start()
    try:
        yield app
    finally:
        manager.uninstantiate(app.name)


@pytest.fixture
def channel() -> Iterator[Channel]:
    manager = AppManager.get_instance()
    made: Channel = manager.instantiate(Channel, port=0)
    try:
        made.start()
        yield made
    finally:
        manager.uninstantiate(made.name)


@pytest.fixture
def port(channel: Channel, watcher: Watcher) -> int:
    assert watcher.is_active
    return channel.listen()


class Peer:
    """Somebody who has connected."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LATE_S)

    def close(self) -> None:
        self._socket.close()

    def send(self, kind: int, body: bytes = b"", version: int = 4) -> None:
        self._socket.sendall(struct.pack("!BBHI", version, kind, 8 + len(body), 7) + body)

    def next_of(self, kind: int) -> bytes:
        """The body of the next message of a kind."""
        while True:
            _, found, length, _ = struct.unpack("!BBHI", self._read(8))
            body = self._read(length - 8)
            if found == kind:
                return body

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            assert more, "the controller has hung up"
            data += more
        return data

    def is_answered(self) -> bool:
        """Whether an echo comes back."""
        self.send(_ECHO_REQUEST, b"are you there?")
        return self.next_of(_ECHO_REPLY) == b"are you there?"

    def is_cut_off(self) -> bool:
        """Whether the controller hangs up on him, whatever it says before."""
        try:
            while self._socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True

    def say_dpid(self, dpid: int) -> None:
        self.send(_FEATURES_REPLY, struct.pack("!QIBBxxII", dpid, 0, 254, 0, 0, 0))

    def say_ports(self) -> None:
        self.send(_MULTIPART, struct.pack("!HHxxxx", _PORT_DESC, 0))

    def say_port(self, port_no: int, reason: int) -> None:
        self.send(_PORT_STATUS, struct.pack("!B7xI4x6x2x16s8I", reason, port_no, b"eth", *[0] * 8))


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    with closing(Peer(port)) as peer:
        yield peer


@pytest.mark.parametrize("kind", [1, 9])
def test_a_hello_without_an_end_stops_nobody(port: int, peer: Peer, kind: int) -> None:
    peer.send(_HELLO, struct.pack("!HH", kind, 0))
    with closing(Peer(port)) as other:
        other.send(_HELLO)
        assert other.is_answered()


def test_who_shakes_hands_is_a_switch(peer: Peer, watcher: Watcher) -> None:
    peer.send(_HELLO)
    peer.say_dpid(5)
    peer.say_ports()
    wait_until(lambda: watcher.seen == [5], LATE_S, lambda: watcher.seen)


def test_a_port_that_comes_while_a_switch_waits_at_the_door_is_one_of_its_ports(
    channel: Channel, peer: Peer, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(channel.door, "lets_in", lambda _switch: False)
        peer.send(_HELLO)
        peer.say_dpid(5)
        peer.say_ports()
        for port_no in (3, 4):
            peer.say_port(port_no, ADDED)
        peer.say_port(4, DELETED)
        assert peer.is_answered()
    (switch,) = channel.switches
    channel.call(lambda: switch.set_state(MAIN_DISPATCHER))
    wait_until(lambda: watcher.seen == [5], LATE_S, lambda: watcher.seen)
    assert list(switch.ports) == [3]


def test_who_tells_ports_before_who_it_is_is_no_switch(peer: Peer, watcher: Watcher) -> None:
    peer.send(_HELLO)
    peer.say_ports()
    assert peer.is_cut_off()
    assert watcher.seen == []


def test_who_changes_the_version_after_the_hello_is_cut_off(peer: Peer) -> None:
    peer.send(_HELLO)
    peer.send(_ECHO_REQUEST, version=1)
    assert peer.is_cut_off()


def test_what_nobody_can_read_is_left_out_and_does_not_fill_the_log(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.send(_HELLO)
    with caplog.at_level(logging.INFO):
        for _ in range(300):
            peer.send(77, bytes(1000))
            peer.send(_MULTIPART, struct.pack("!HHxxxx", 77, 0) + bytes(1000))
        assert peer.is_answered()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) <= 3 and all(len(line) < 400 for line in said)


def test_a_thousand_switches_that_come_at_once_are_not_told_to_come_again_later(
    channel: Channel, port: int
) -> None:
    busy, held = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        busy.wait(LATE_S)

    channel.call(hold)
    assert held.wait(LATE_S)
    with ExitStack() as opened:
        for _ in range(400):
            # One that finds no place is let in with its second try, a second later.
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.9))
        busy.set()


def test_who_is_told_to_end_while_it_starts_ends(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    busy, held = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        busy.wait(LATE_S)

    # In the loop's second round: it is told as the start comes to its end.
    channel.call(lambda: channel.call(hold))
    channel.listen()
    assert held.wait(LATE_S)
    call = channel.call

    def tell(what: Callable[[], object]) -> None:
        call(what)
        busy.set()

    monkeypatch.setattr(channel, "call", tell)
    ending = threading.Thread(target=channel.stop, daemon=True)
    ending.start()
    ending.join(LATE_S)
    assert not ending.is_alive() and not raised
