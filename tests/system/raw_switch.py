"""A bridge of a private Open vSwitch as one who speaks OpenFlow to it directly meets it."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3

from ryu_apps import wire
from ryu_apps.installing.reading import Reading
from stitching.rules import Entry, EntryKey
from tests.unit.decode import SWITCH

_HELLO = bytes([4, 0, 0, 8, 0, 0, 0, 1])
_MULTIPART, _BARRIER_REPLY = 19, 21


class RawSwitch:
    """The management socket of a bridge: what is sent is confirmed, and what came back is returned."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._xids = itertools.count(100)
        self.ask(_HELLO)

    def send(self, data: bytes) -> bool:
        """Send messages."""
        self._connection.sendall(data)
        return True

    def ask(self, data: bytes) -> list[Any]:
        """Send messages and a barrier; returns what the switch said (os-ken objects) up to its answer."""
        xid = next(self._xids)
        self.send(data + wire.barrier(xid))
        said = []
        for message in self._messages():
            if (message[1], int.from_bytes(message[4:8], "big")) == (_BARRIER_REPLY, xid):
                break
            said.append(wire.message(SWITCH, ofproto_parser.header(message), bytearray(message)))
        return said

    def errors(self, data: bytes) -> list[tuple[int, str]]:
        """Send messages; returns the xid and name of every refusal."""
        return [
            (message.xid, ofproto_v1_3.ofp_error_code_to_str(message.type, message.code))
            for message in self.ask(data)
            if message.cls_msg_type == ofproto_v1_3.OFPT_ERROR
        ]

    def holds(self) -> dict[EntryKey, Entry]:
        """What it says it holds of ours."""
        reading = Reading.of(self._xids, 0.0)
        for message in self.ask(reading.requests()):
            if message.cls_msg_type == _MULTIPART:
                reading.take(message)
        assert not reading.open
        return reading.entries

    def _messages(self) -> Iterator[bytes]:
        while True:
            length = int.from_bytes(self._buffer[2:4], "big")
            while len(self._buffer) < 8 or len(self._buffer) < length:
                more = self._connection.recv(1 << 16)
                assert more, "the switch closed the connection"
                self._buffer += more
                length = int.from_bytes(self._buffer[2:4], "big")
            message, self._buffer = self._buffer[:length], self._buffer[length:]
            yield message


@contextmanager
def raw_switch(directory: Path, bridge: str) -> Iterator[RawSwitch]:
    """Speak OpenFlow to a bridge whose socket is in this directory."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        connection.connect(str(directory / f"{bridge}.mgmt"))
        yield RawSwitch(connection)
