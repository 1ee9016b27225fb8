"""os-ken's translator between JSON and OpenFlow 1.3 (lib/ofctl_v1_3), without the waiting that is built into it.

Its functions send a request, wait for the replies and turn them into JSON. Here each is run on a stand-in for the
datapath: once to see what it would send, and once more, when the replies are there, to turn them into JSON.
Neither run waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from ryu_apps.ofctl.readable import made_readable

Getter = Callable[..., dict[str, Any]]
"""One of os-ken's get_...(datapath, waiters, ...)."""


class BadBody(ValueError):
    """What was given cannot be turned into a message; says why, and which field where that is known."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


class _Sent(Exception):
    """Ends a run of the translator at the message it sends."""

    def __init__(self, message: Any) -> None:
        self.message = message


class StandIn:
    """Has what the translator needs of a datapath; what is sent to it ends the run, or is answered at once."""

    ofproto = ofproto_v1_3
    ofproto_parser = ofproto_v1_3_parser

    def __init__(self, dpid: int, replies: Sequence[Any] | None = None) -> None:
        self.id = dpid
        self.waiters: dict[int, dict[int, tuple[Any, list[Any]]]] = {}
        self._replies = replies

    def set_xid(self, message: Any) -> int:
        """The real one is put in when the message is sent."""
        message.set_xid(0)
        return 0

    def send_msg(self, message: Any) -> None:
        """Give the replies where there are some; else end the run."""
        if self._replies is None:
            raise _Sent(message)
        lock, messages = self.waiters[self.id][message.xid]
        messages.extend(self._replies)
        lock.set()


def message_of(send: Callable[[StandIn], object]) -> Any:
    """The message that a function sends to a stand-in, encoded once (message.buf). Raises BadBody."""
    try:
        send(StandIn(0))
    except _Sent as sent:
        return encoded(sent.message)
    except Exception as error:  # the translator fails in any way on what it did not expect
        raise BadBody(_reason(error)) from error
    raise BadBody("this makes no message")


def encoded(message: Any) -> Any:
    """The same message with its bytes in message.buf. Raises BadBody where a value does not fit its field."""
    message.buf = None
    message.xid = 0
    try:
        message.serialize()
    except Exception as error:  # os-ken's encoder fails in any way on values that do not fit
        raise BadBody(_reason(error)) from error
    if len(message.buf) > 0xFFFF:
        raise BadBody(f"the message would have {len(message.buf)} bytes; OpenFlow allows 65,535")
    return message


def question(get: Getter, *arguments: Any) -> Any:
    """The message by which one of os-ken's getters asks. Raises BadBody."""
    return message_of(lambda datapath: get(datapath, datapath.waiters, *arguments))


def answer(get: Getter, dpid: int, replies: Sequence[Any], *arguments: Any) -> dict[str, Any]:
    """What the getter makes of the replies."""
    datapath = StandIn(dpid, [made_readable(reply) for reply in replies])
    return get(datapath, datapath.waiters, *arguments)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return f"a value is not what it has to be ({type(error).__name__}{': ' + said if said else ''})"
