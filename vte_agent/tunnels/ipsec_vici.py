"""What charon is asked over its vici socket, and what of its answers is believed.

One connection, one command at a time. Whatever comes back that is not what charon says ends in ViciFailed, within
a bounded time and with bounded memory.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from pydantic import ValidationError
from vici import Session
from vici.exception import CommandException, DeserializationException, SessionException

from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import TunnelFailed

ANSWER_WITHIN_S: Final = 2.0
_MOST_BYTES = 512 * 1024
_MOST_PARTS = 65_536
_LENGTH_BYTES = 4
_MOST_SECONDS = 1 << 40

# What the library raises, and what its parser runs into, when bytes are not what they should be.
_BAD = (
    OSError,
    SessionException,
    DeserializationException,
    struct.error,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


class ViciFailed(TunnelFailed):
    """Charon is not there, does not answer, or answers something else than was asked."""


class Refused(TunnelFailed):
    """Charon answered: no."""


@dataclass(frozen=True)
class Sa:
    """An IKE_SA. made_s: seconds since its newest keys; None while it carries no traffic."""

    tunnel: str
    number: int
    state: str
    ours: bool
    """Whether this end called."""
    made_s: float | None
    endpoint: Endpoint | None

    @property
    def established(self) -> bool:
        """Whether both ends have shown that they know the secret, and packets can cross."""
        return self.state == "ESTABLISHED" and self.made_s is not None


class _Pipe:
    """Segments over the socket (vici's Transport), bounded in length and time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._give_up_s = 0.0
        self._parts = 0

    def begin(self, within_s: float) -> None:
        self._give_up_s = time.monotonic() + within_s
        self._parts = 0

    def send(self, packet: bytes) -> None:
        self._socket.settimeout(self._left_s())
        self._socket.sendall(struct.pack("!I", len(packet)) + packet)

    def receive(self, timeout: object = None) -> bytes:
        del timeout
        self._parts += 1
        (length,) = struct.unpack("!I", self._exactly(_LENGTH_BYTES))
        if not 0 < length <= _MOST_BYTES or self._parts > _MOST_PARTS:
            raise ValueError("an answer without end")
        return self._exactly(length)

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(self._left_s())
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError("it hung up")
            data += part
        return bytes(data)

    def _left_s(self) -> float:
        left_s = self._give_up_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        return left_s


class Vici:
    """A connection to charon. All methods raise ViciFailed, after which it is closed, or Refused."""

    def __init__(self, connection: socket.socket) -> None:
        self._pipe = _Pipe(connection)
        self._session: Any = Session(connection)
        self._session.transport = self._pipe

    def version(self) -> str:
        """Charon's version."""
        return _text(self._request("version").get("version"))

    def load(self, name: str, secret: bytes, ids: Collection[str], connection: Mapping[str, Any]) -> None:
        """Load a tunnel with its secret; what is loaded under the name already is replaced."""
        self._request("load-shared", {"id": name, "type": "IKE", "data": secret, "owners": list(ids)})
        self._request("load-conn", {name: connection})

    def unload(self, name: str) -> None:
        """Forget a tunnel and its secret."""
        for command, key in (("unload-conn", "name"), ("unload-shared", "id")):
            try:
                self._request(command, {key: name})
            except Refused:
                # It is not loaded.
                continue

    def initiate(self, name: str) -> None:
        """Call the other end; what comes of it shows in `sas`."""
        # A negative timeout: do not wait.
        self._request("initiate", {"ike": name, "child": name, "timeout": "-1", "init-limits": "no"})

    def terminate(self, name: str, number: int | None = None) -> None:
        """End a tunnel's SAs, or one of them; the other end is told, but not waited for."""
        wanted = {"ike": name} if number is None else {"ike-id": str(number)}
        try:
            self._request("terminate", {**wanted, "force": "yes", "timeout": "-1"})
        except Refused:
            # There is none any more.
            return

    def loaded(self) -> Collection[str]:
        """The names of the tunnels that were loaded."""
        names = self._request("get-conns").get("conns", [])
        return {_text(name) for name in names} if isinstance(names, list) else set()

    def sas(self) -> list[Sa]:
        """All IKE_SAs."""
        return [sa for part in self._stream("list-sas", "list-sa") for sa in parse_sas(part)]

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._pipe.closed

    def close(self) -> None:
        """Hang up."""
        self._pipe.close()

    def _request(self, command: str, message: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        self._pipe.begin(ANSWER_WITHIN_S)
        try:
            answer: Mapping[str, Any] = self._session.request(command, message)
        except CommandException as error:
            raise Refused(f"charon refuses {command}: {_printable(str(error))}") from None
        except _BAD as error:
            raise self._failed(command, error) from None
        return answer

    def _stream(self, command: str, event: str) -> list[Mapping[str, Any]]:
        self._pipe.begin(ANSWER_WITHIN_S)
        try:
            return list(self._session.streamed_request(command, event))
        except CommandException as error:
            raise Refused(f"charon refuses {command}: {_printable(str(error))}") from None
        except _BAD as error:
            raise self._failed(command, error) from None

    def _failed(self, command: str, error: Exception) -> ViciFailed:
        self.close()
        # Never the bytes themselves: a secret may be among them.
        why = str(error) if isinstance(error, OSError) else "its answer is not understood"
        return ViciFailed(f"charon does not answer {command}: {why}; make its tunnels again")


def parse_sas(part: Mapping[str, Any]) -> Iterator[Sa]:
    """The IKE_SAs in one event of list-sas; what is not understood is left out."""
    for name, told in part.items():
        if not isinstance(told, Mapping):
            continue
        number = _number(told.get("uniqueid"))
        if number is None:
            continue
        yield Sa(
            tunnel=name,
            number=number,
            state=_text(told.get("state")),
            ours=_text(told.get("initiator")) == "yes",
            made_s=_age_s(told),
            endpoint=_endpoint(told),
        )


def _age_s(told: Mapping[str, Any]) -> float | None:
    children = told.get("child-sas")
    if not isinstance(children, Mapping):
        return None
    ages = [
        _number(child.get("install-time"))
        for child in children.values()
        if isinstance(child, Mapping) and _text(child.get("state")) in ("INSTALLED", "REKEYING", "REKEYED")
    ]
    known = [age for age in ages if age is not None]
    return float(min(known)) if known else None


def _endpoint(told: Mapping[str, Any]) -> Endpoint | None:
    port = _number(told.get("remote-port"))
    try:
        return Endpoint(address=ip_address(_text(told.get("remote-host"))), port=port or 0)
    except (ValueError, ValidationError):
        return None


def _number(value: object) -> int | None:
    text = _text(value)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    return number if number is not None and number < _MOST_SECONDS else None


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else ""


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)[:200]
