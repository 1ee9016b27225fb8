"""What a hosted app holds in place of a connection: os-ken's Datapath, as far as it goes without reaching ours."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any

from os_ken.ofproto import ofproto_protocol
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps.guests.outgoing import outgoing
from ryu_apps.guests.share import NotYours, Share

_TOLD_AT_MOST = 1000
"""So many different refusals are remembered as told; an app that finds ever new ones is logged each time."""


class GuestDatapath(ofproto_protocol.ProtocolDesc):  # type: ignore[misc]  # os-ken ships no types
    """The connection of a switch as a hosted app sees it.

    What it sends is moved into its tables and under its owner; what it may not send is logged and left out.
    """

    def __init__(self, switch: Any, share: Share, name: str, begin: Callable[[Any, int | None], None]) -> None:
        """`begin` is called with the connection and its dpid before anything is sent over it, each time."""
        super().__init__(ofp.OFP_VERSION)
        self._switch = switch
        self._share = share
        self._begin = begin
        self._log = logging.getLogger(f"lockstitch.guest.{name}")
        self._lock = threading.Lock()
        self._sent = 0
        self._groups: set[int] = set()
        self._meters: set[int] = set()
        self._told: set[tuple[str, str]] = set()
        self.dpid: int | None = None

    @property
    def id(self) -> int | None:
        """The dpid; None before the switch has said it."""
        known: int | None = self._switch.id
        return self.dpid if known is None else known

    @property
    def ports(self) -> dict[int, Any]:
        """The ports by number."""
        ports: dict[int, Any] = self._switch.ports
        return ports

    @property
    def address(self) -> Any:
        """Where it connects from."""
        return self._switch.address

    @property
    def state(self) -> Any:
        """How far the handshake is."""
        return self._switch.state

    @property
    def is_active(self) -> bool:
        """Whether it is connected."""
        return bool(self._switch.is_active)

    def set_xid(self, message: Any) -> int:
        """Give a message the next transaction id of this app."""
        with self._lock:
            self._sent += 1
            xid = self._share.xid(self._sent)
        message.set_xid(xid)
        return xid

    def send_msg(self, message: Any, close_socket: bool = False) -> bool:
        """Send a message. False when the switch is gone, or when this is not for the app to send."""
        if not self._share.has_xid(message.xid):
            # An id of its own choice could be that of one of ours.
            message.xid = None
            self.set_xid(message)
        if close_socket:
            self.close()
        try:
            messages = self._all_of(message)
        except NotYours as refused:
            return self._refused(type(message).__name__, str(refused))
        self._begin(self._switch, self.id)
        return False not in [self._send(single) for single in messages]

    def send_barrier(self) -> bool:
        """Send a barrier request."""
        return self.send_msg(self.ofproto_parser.OFPBarrierRequest(self))

    def send_packet_out(
        self, buffer_id: int = ofp.OFP_NO_BUFFER, in_port: int | None = None, actions: Any = None, data: Any = None
    ) -> bool:
        """Send a packet out."""
        port = ofp.OFPP_CONTROLLER if in_port is None else in_port
        return self.send_msg(self.ofproto_parser.OFPPacketOut(self, buffer_id, port, actions, data))

    def send(self, _data: Any, _close_socket: bool = False) -> bool:
        """Refused: nobody can tell what encoded bytes would change."""
        return self._refused("bytes", "send messages by send_msg()")

    def close(self) -> None:
        """Left out: the connection is the controller's too."""
        self._refused("close", "the connection is the controller's too")

    def _refused(self, what: str, reason: str) -> bool:
        """Say so once for each reason: an app that asks again and again would fill the log."""
        level = logging.DEBUG if (what, reason) in self._told else logging.WARNING
        if len(self._told) < _TOLD_AT_MOST:
            self._told.add((what, reason))
        self._log.log(level, "switch=%s refused=%s reason=%s", self, what, reason)
        return False

    def _send(self, message: Any) -> bool:
        message.serialize()
        return bool(self._switch.send(bytes(message.buf)))

    def _all_of(self, message: Any) -> list[Any]:
        """What is sent for a message: where all groups or meters are to go, each that this app has made."""
        if message.cls_msg_type == ofp.OFPT_GROUP_MOD:
            if message.command == ofp.OFPGC_DELETE and message.group_id == ofp.OFPG_ALL:
                return self._each(message, "group_id", self._groups)
            return self._made(message, message.group_id, self._groups)
        if message.cls_msg_type == ofp.OFPT_METER_MOD:
            if message.command == ofp.OFPMC_DELETE and message.meter_id == ofp.OFPM_ALL:
                return self._each(message, "meter_id", self._meters)
            return self._made(message, message.meter_id, self._meters)
        return [outgoing(message, self._share)]

    def _made(self, message: Any, number: int, numbers: set[int]) -> list[Any]:
        allowed = outgoing(message, self._share)
        numbers.add(number)
        return [allowed]

    def _each(self, message: Any, name: str, numbers: set[int]) -> list[Any]:
        messages = []
        for number in sorted(numbers):
            single = copy.copy(message)
            setattr(single, name, number)
            messages.append(outgoing(single, self._share))
        numbers.clear()
        return messages

    def __str__(self) -> str:
        return str(self._switch)
