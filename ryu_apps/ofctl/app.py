"""Sends single messages to switches for others, and gives their answers back: complete, or a reason why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import wire
from ryu_apps.app import App, Request, Tick, handles
from ryu_apps.connections import Connections
from ryu_apps.transactions import Asker, Transactions

ANSWER_S = 3.0
"""How long a switch may be silent while an answer or the confirmation of a change is due."""

_REPLY_MORE = 1
_MULTIPART_REPLY = 19

_REPLIES = (
    ofp_event.EventOFPDescStatsReply,
    ofp_event.EventOFPFlowStatsReply,
    ofp_event.EventOFPAggregateStatsReply,
    ofp_event.EventOFPTableStatsReply,
    ofp_event.EventOFPTableFeaturesStatsReply,
    ofp_event.EventOFPPortStatsReply,
    ofp_event.EventOFPPortDescStatsReply,
    ofp_event.EventOFPQueueStatsReply,
    ofp_event.EventOFPQueueGetConfigReply,
    ofp_event.EventOFPGroupStatsReply,
    ofp_event.EventOFPGroupDescStatsReply,
    ofp_event.EventOFPGroupFeaturesStatsReply,
    ofp_event.EventOFPMeterStatsReply,
    ofp_event.EventOFPMeterConfigStatsReply,
    ofp_event.EventOFPMeterFeaturesStatsReply,
    ofp_event.EventOFPRoleReply,
)


class UnknownSwitch(Exception):
    """No switch of this dpid is connected."""


class SwitchGone(Exception):
    """The switch went away before it answered; whether it did what was sent is not known."""


class NoAnswer(Exception):
    """The switch was silent for ANSWER_S."""


class Refused(Exception):
    """The switch answered with an error, which the message names."""


@dataclass
class ConnectedSwitches(Request[tuple[int, ...]]):
    """The dpids of the switches that are connected, in order."""


@dataclass
class AskSwitch(Request[tuple[Any, ...]]):
    """Send an encoded question; answers with all parts of the reply, as os-ken decoded them.

    Raises UnknownSwitch, SwitchGone, NoAnswer or Refused.
    """

    dpid: int
    message: bytes


@dataclass
class ChangeSwitch(Request[None]):
    """Send an encoded change; answers once the switch has confirmed it with a barrier. Raises as AskSwitch."""

    dpid: int
    message: bytes


@dataclass
class _Waiting:
    """A request on its way. A change waits for its barrier, a question for the last part of its reply."""

    request: AskSwitch | ChangeSwitch
    datapath: Any
    xids: tuple[int, ...]
    deadline_s: float
    parts: list[Any] = field(default_factory=list)


class Ofctl(App):
    """Carries questions and changes of others to switches; several at a time, each with a deadline."""

    def __init__(self, *args: Any, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._xids = Transactions(Asker.OFCTL)
        self._connections = Connections()
        self._waiting: dict[int, _Waiting] = {}

    def start(self) -> None:
        """Start the event loop and the timer that watches deadlines."""
        super().start()
        self.every(0.1, "deadlines")

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand; nobody waits for a switch that went."""
        self._connections.follow(event)
        for waiting in self._all():
            if not self._connections.is_current(waiting.datapath):
                dpid = waiting.request.dpid
                self._fail(waiting, SwitchGone(f"switch {dpid:016x} disconnected before it answered"))

    @handles(ConnectedSwitches)
    def on_connected(self, request: ConnectedSwitches) -> None:
        """Answer which switches are there."""
        self.serve(request, lambda: tuple(sorted(self._connections)))

    @handles(AskSwitch)
    def on_ask(self, request: AskSwitch) -> None:
        """Send a question."""
        xid = next(self._xids)
        self._send(request, (xid,), _with_xid(request.message, xid))

    @handles(ChangeSwitch)
    def on_change(self, request: ChangeSwitch) -> None:
        """Send a change, and a barrier behind it."""
        xid, fence = next(self._xids), next(self._xids)
        self._send(request, (xid, fence), _with_xid(request.message, xid) + wire.barrier(fence))

    def _send(self, request: AskSwitch | ChangeSwitch, xids: tuple[int, ...], data: bytes) -> None:
        datapath = self._connections.get(request.dpid)
        if datapath is None:
            request.future.set_exception(UnknownSwitch(f"no switch {request.dpid} is connected"))
            return
        waiting = _Waiting(request, datapath, xids, self._clock() + ANSWER_S)
        self._waiting |= dict.fromkeys(xids, waiting)
        if not datapath.send(data):
            self._fail(waiting, SwitchGone(f"switch {request.dpid:016x} is disconnecting"))

    @handles(*_REPLIES, states=(MAIN_DISPATCHER,))
    def on_reply(self, event: Any) -> None:
        """Take in a part of an answer; the last one is passed on with all before it."""
        message = event.msg
        waiting = self._of(message)
        if waiting is None or not isinstance(waiting.request, AskSwitch):
            return
        waiting.parts.append(message)
        # A long answer takes its time; only silence is too long.
        waiting.deadline_s = self._clock() + ANSWER_S
        if message.msg_type != _MULTIPART_REPLY or not message.flags & _REPLY_MORE:
            self._forget(waiting)
            waiting.request.future.set_result(tuple(waiting.parts))

    @handles(ofp_event.EventOFPBarrierReply, states=(MAIN_DISPATCHER,))
    def on_barrier(self, event: Any) -> None:
        """A change was carried out."""
        waiting = self._of(event.msg)
        if waiting is not None and isinstance(waiting.request, ChangeSwitch):
            self._forget(waiting)
            waiting.request.future.set_result(None)

    @handles(ofp_event.EventOFPErrorMsg, states=(MAIN_DISPATCHER,))
    def on_error(self, event: Any) -> None:
        """A switch refused what was sent."""
        message = event.msg
        waiting = self._of(message)
        if waiting is not None:
            kind = message.datapath.ofproto.ofp_error_type_to_str(message.type)
            what = f"{kind}, {wire.error_words(message)}"
            self._fail(waiting, Refused(f"switch {waiting.request.dpid:016x} refused it: {what}"))

    @handles(Tick)
    def on_deadline(self, _tick: Tick) -> None:
        """Give up on answers that are overdue."""
        now_s = self._clock()
        for waiting in self._all():
            if now_s > waiting.deadline_s:
                late = f"switch {waiting.request.dpid:016x} did not answer within {ANSWER_S:g} s"
                self._fail(waiting, NoAnswer(late))

    def _of(self, message: Any) -> _Waiting | None:
        waiting = self._waiting.get(message.xid)
        return waiting if waiting is not None and waiting.datapath is message.datapath else None

    def _all(self) -> list[_Waiting]:
        return list({id(waiting): waiting for waiting in self._waiting.values()}.values())

    def _fail(self, waiting: _Waiting, error: Exception) -> None:
        self._forget(waiting)
        waiting.request.future.set_exception(error)

    def _forget(self, waiting: _Waiting) -> None:
        for xid in waiting.xids:
            self._waiting.pop(xid, None)


def _with_xid(message: bytes, xid: int) -> bytes:
    return message[:4] + xid.to_bytes(4, "big") + message[8:]
