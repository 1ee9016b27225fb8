"""Cuts the byte stream of one switch into messages."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from os_ken.ofproto import ofproto_common, ofproto_parser

from ryu_apps.connecting.switch import Switch

log = logging.getLogger("lockstitch.channel")


Header = tuple[int, int, int, int]
"""Version, type, length in bytes and transaction id."""


class Framing(asyncio.Protocol):
    """Makes a switch of a connection with `connect`, and hands each of its messages to `dispatch`."""

    def __init__(
        self,
        connect: Callable[[asyncio.Transport], Switch],
        dispatch: Callable[[Switch, Header, bytearray], None],
    ) -> None:
        self._connect = connect
        self._dispatch = dispatch
        self._buffer = bytearray()
        self._switch: Switch | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        assert isinstance(transport, asyncio.Transport)  # a TCP server gives nothing else
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._switch = self._connect(transport)

    def data_received(self, data: bytes) -> None:
        """Take in some bytes; what cannot be told apart or decoded closes the connection."""
        switch = self._switch
        if switch is None or not switch.is_active:
            return
        switch.last_heard_s = time.monotonic()
        buffer = self._buffer
        buffer += data
        used = 0
        try:
            while len(buffer) - used >= ofproto_common.OFP_HEADER_SIZE:
                header = ofproto_parser.header(buffer[used : used + ofproto_common.OFP_HEADER_SIZE])
                length = header[2]
                if length < ofproto_common.OFP_HEADER_SIZE:
                    raise ValueError(f"a message of {length} bytes")
                if len(buffer) - used < length:
                    break
                self._dispatch(switch, header, buffer[used : used + length])
                used += length
        except Exception as error:  # noqa: BLE001  # os-ken's decoder raises anything on bytes it cannot read
            log.warning("switch=%s sent what cannot be decoded (%.200r), closing its channel", switch, error)
            switch.close()
        del buffer[:used]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        if self._switch is not None:
            log.info("switch=%s disconnected reason=%s", self._switch, exc or "closed by the switch")
            self._switch.lost()
